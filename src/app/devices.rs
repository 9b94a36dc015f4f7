//! `lanradio devices`: where can sound go, which networks are there, and which of them is used unasked?

use std::fmt::Write;
use std::net::IpAddr;

use unicode_width::UnicodeWidthStr;

use super::error::AppError;
use crate::io::device_names::OutputDevice;
use crate::io::interface::{self, Choice, Interface, InterfaceError};
use crate::io::sound::{self, SoundError};
use crate::io::terminal::sanitize;

/// The list for people: output devices and network interfaces, the default ones marked with a star.
///
/// With a `wanted` interface that one is marked.
///
/// # Errors
/// If the system does not tell its interfaces. (No sound is no failure: it is said in the list.)
pub fn run(group: IpAddr, wanted: Option<&str>) -> Result<String, AppError> {
    let interfaces = interface::list()?;
    let chosen = interface::choose(group, wanted);
    let mut text = String::from("Output devices (--output):\n");
    text += &outputs(sound::list());
    let _ = writeln!(
        text,
        "\nNetwork interfaces (--interface), for the group {group}:"
    );
    text += &networks(&interfaces, &chosen, group);
    Ok(text)
}

fn outputs(devices: Result<Vec<OutputDevice>, SoundError>) -> String {
    match devices {
        Ok(devices) if devices.is_empty() => "  none\n".into(),
        Ok(devices) => {
            let row = |device: OutputDevice| (device.is_default, device.id, device.description);
            table(devices.into_iter().map(row).collect())
        }
        Err(error) => format!("  none: {}\n", sanitize(&error.to_string())),
    }
}

fn networks(
    interfaces: &[Interface],
    chosen: &Result<Choice, InterfaceError>,
    group: IpAddr,
) -> String {
    let row = |interface: &Interface| {
        let is_default = chosen
            .as_ref()
            .is_ok_and(|choice| choice.interface.index == interface.index);
        let addresses: Vec<String> = interface.addresses.iter().map(IpAddr::to_string).collect();
        let mut about = addresses.join(", ");
        if let Some(why) = interface.why_skipped(group).filter(|_| !is_default) {
            let separator = if about.is_empty() { "" } else { "; " };
            let _ = write!(about, "{separator}not used unasked: {why}");
        }
        (is_default, interface.name.clone(), about)
    };
    let mut text = table(interfaces.iter().map(row).collect());
    if let Err(error) = chosen {
        let _ = writeln!(text, "  {error}");
    }
    text
}

/// Rows of a mark, a name and what is said about it, in columns.
fn table(rows: Vec<(bool, String, String)>) -> String {
    let rows: Vec<(bool, String, String)> = rows
        .into_iter()
        .map(|(mark, name, about)| (mark, sanitize(&name), sanitize(&about)))
        .collect();
    let width = rows.iter().map(|(_, name, _)| name.width()).max();
    let mut text = String::new();
    for (mark, name, about) in rows {
        let mark = if mark { '*' } else { ' ' };
        let gap = " ".repeat(width.unwrap_or(0) - name.width());
        let line = format!("{mark} {name}{gap}  {about}");
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(id: &str, description: &str, is_default: bool) -> OutputDevice {
        OutputDevice {
            id: id.into(),
            description: description.into(),
            is_default,
        }
    }

    #[test]
    fn default_device_is_marked_and_columns_line_up() {
        let devices = vec![
            device("default", "Default Audio Device", true),
            device("音", "wide\u{1b}[31m", false),
        ];
        let text = "* default  Default Audio Device\n  音       wide\n";
        assert_eq!(outputs(Ok(devices)), text);
        assert_eq!(outputs(Ok(vec![])), "  none\n");
    }

    #[test]
    fn interface_that_is_not_used_says_why() {
        let interface = |name: &str, index, address: &str| Interface {
            name: name.into(),
            index,
            addresses: vec![address.parse().unwrap()],
            up: true,
            running: true,
            multicast: true,
            loopback: name == "lo",
            point_to_point: name == "tun0",
        };
        let mut off = interface("eth1", 5, "192.0.2.9");
        off.up = false;
        let all = [
            interface("lo", 1, "127.0.0.1"),
            interface("eth0", 2, "192.0.2.2"),
            interface("docker0", 3, "172.17.0.1"),
            interface("tun0", 4, "10.8.0.2"),
            off,
        ];
        let group: IpAddr = "239.255.77.77".parse().unwrap();
        let chosen = interface::decide(&all, None, group, None);
        let text = networks(&all, &chosen, group);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("  lo ") && lines[0].contains("this machine only"));
        assert_eq!(lines[1], "* eth0     192.0.2.2");
        assert!(lines[2].contains("docker0") && lines[2].contains("not used unasked"));
        assert!(lines[3].contains("point-to-point") && lines[4].contains("down"));
    }
}
