//! Is this value well-formed? Parsers of flag values; each error says what would be right.

use std::ffi::{OsStr, OsString};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use crate::app::output::OutputConfig;
use crate::io::sound::DeviceChoice;
use crate::wire::control::MAX_NAME_BYTES;

/// The group of a station that nobody configured (administratively scoped, RFC 2365).
pub const DEFAULT_GROUP: &str = "239.255.77.77:5004";
const DEFAULT_PORT: u16 = 5004;

/// Parses `--output`.
///
/// # Errors
/// For an empty name or path, and a device name that is not text.
pub fn output(text: OsString) -> Result<OutputConfig, String> {
    match text.as_bytes() {
        b"default" => Ok(OutputConfig::Device(DeviceChoice::Default)),
        b"" => Err("an empty name; write default, null, file:PATH.wav or -".into()),
        b"null" => Ok(OutputConfig::Null),
        b"-" => Ok(OutputConfig::Stdout),
        b"file:" => Err("file: needs a path, such as file:heard.wav".into()),
        bytes => match bytes.strip_prefix(b"file:") {
            // Not every path is UTF-8.
            Some(path) => Ok(OutputConfig::File(OsStr::from_bytes(path).into())),
            None => match text.into_string() {
                Ok(name) => Ok(OutputConfig::Device(DeviceChoice::Named(name))),
                Err(_) => Err("a device's name is text (see lanradio devices)".into()),
            },
        },
    }
}

/// Parses a duration with a unit: `250ms`, `1.5s`, `2m`.
///
/// # Errors
/// Without a number or a unit, negative, or longer than a year.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong =
        || format!("'{text}' is not a duration; write a number with a unit, such as 250ms or 1.5s");
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .ok_or_else(wrong)?;
    let (number, unit) = text.split_at(digits);
    let number: f64 = number.parse().map_err(|_| wrong())?;
    let seconds = match unit {
        "us" | "µs" => number / 1e6,
        "ms" => number / 1e3,
        "s" => number,
        "m" | "min" => number * 60.0,
        "h" => number * 3600.0,
        _ => return Err(wrong()),
    };
    if !(0.0..=31_536_000.0).contains(&seconds) {
        return Err(format!("'{text}' is longer than a year"));
    }
    Ok(Duration::from_micros((seconds * 1e6).round() as u64))
}

/// Parses `--delay`: a duration that may be negative, to microseconds.
///
/// # Errors
/// Like [`duration`], and out of range: -5s to 5s.
pub fn delay_us(text: &str) -> Result<i64, String> {
    let (sign, size) = match text.strip_prefix(['-', '−']) {
        Some(size) => (-1, size),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let delay = duration(size)
        .map_err(|error| error.replace(&format!("'{size}'"), &format!("'{text}'")))?;
    if delay > Duration::from_secs(5) {
        return Err(format!("'{text}' is out of range: -5s to 5s"));
    }
    Ok(sign * delay.as_micros() as i64)
}

/// What `--buffer` can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Buffer {
    /// As long as the network needs it; on `listen` only.
    Auto,
    /// So long.
    Fixed(Duration),
}

/// Parses `--buffer`: `auto`, or 40ms to 5s.
///
/// # Errors
/// Like [`buffer_limit`].
pub fn buffer(text: &str) -> Result<Buffer, String> {
    match text {
        "auto" => Ok(Buffer::Auto),
        text => buffer_limit(text).map(Buffer::Fixed),
    }
}

/// Parses `--min-buffer` and `--max-buffer`: 40ms to 5s.
///
/// # Errors
/// Like [`duration`], and out of range.
pub fn buffer_limit(text: &str) -> Result<Duration, String> {
    let buffer = duration(text)?;
    if !(Duration::from_millis(40)..=Duration::from_secs(5)).contains(&buffer) {
        return Err(format!("'{text}' is out of range: 40ms to 5s"));
    }
    Ok(buffer)
}

/// Parses `--group`: a multicast address, with or without a port.
///
/// # Errors
/// Not an address, not multicast, or a port that is odd or out of range.
pub fn group(text: &str) -> Result<SocketAddr, String> {
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text);
    let group = match (text.parse::<SocketAddr>(), bare.parse::<IpAddr>()) {
        (Ok(group), _) => group,
        (_, Ok(address)) => SocketAddr::new(address, DEFAULT_PORT),
        _ => {
            return Err(format!(
                "'{text}' is not ADDR or ADDR:PORT, such as {DEFAULT_GROUP} or [ff15::cc52:1]:5004"
            ));
        }
    };
    let link_scope_needs_zone = matches!(group.ip(), IpAddr::V6(ip) if is_interface_local(ip));
    if !group.ip().is_multicast() || link_scope_needs_zone {
        let remedy = "use one of 239.0.0.0/8 or ff15::/16";
        return Err(format!(
            "{} is not a multicast group that a network can carry; {remedy}",
            group.ip()
        ));
    }
    if !(1024..=65532).contains(&group.port()) || group.port() % 2 == 1 {
        return Err(format!(
            "port {} is not an even number from 1024 to 65532",
            group.port()
        ));
    }
    Ok(group)
}

/// Scopes 0 and 1 never leave the machine (RFC 4291 section 2.7).
fn is_interface_local(address: Ipv6Addr) -> bool {
    address.octets()[1] & 0x0f <= 1
}

/// Parses `--cache`: a size with a unit, such as `512MiB`.
///
/// # Errors
/// Without a number or a unit, or less than a megabyte.
pub fn size(text: &str) -> Result<u64, String> {
    let wrong =
        || format!("'{text}' is not a size; write a number with a unit, such as 512MiB or 1GB");
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let factor: u64 = match unit {
        "KiB" => 1 << 10,
        "MiB" | "M" => 1 << 20,
        "GiB" | "G" => 1 << 30,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        _ => return Err(wrong()),
    };
    let bytes = number.saturating_mul(factor);
    if bytes < 1_000_000 {
        return Err(format!(
            "'{text}' is less than a minute of music: 1MiB at least"
        ));
    }
    Ok(bytes)
}

/// Parses `--name`.
///
/// # Errors
/// Empty or longer than 64 bytes.
pub fn name(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > MAX_NAME_BYTES {
        return Err(format!(
            "a name has 1 to {MAX_NAME_BYTES} bytes, this one {}",
            text.len()
        ));
    }
    Ok(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_carry_a_unit() {
        let table = [
            ("250ms", Some(250_000)),
            ("1.5s", Some(1_500_000)),
            ("2m", Some(120_000_000)),
            ("0s", Some(0)),
        ];
        for (text, micros) in table {
            assert_eq!(duration(text).ok().map(|d| d.as_micros()), micros, "{text}");
        }
        for text in [
            "500",
            "",
            "s",
            "1.5.2s",
            "-1s",
            "1 s",
            "1e3s",
            "1d",
            "99999999h",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn output_is_a_device_unless_it_is_written_otherwise() {
        let named = |name: &str| OutputConfig::Device(DeviceChoice::Named(name.into()));
        let table = [
            ("default", Some(OutputConfig::Device(DeviceChoice::Default))),
            ("null", Some(OutputConfig::Null)),
            ("-", Some(OutputConfig::Stdout)),
            ("file:a.wav", Some(OutputConfig::File("a.wav".into()))),
            ("hw:CARD=PCH", Some(named("hw:CARD=PCH"))),
            ("Default", Some(named("Default"))),
            ("file:", None),
            ("", None),
        ];
        for (text, expected) in table {
            assert_eq!(output(text.into()).ok(), expected, "{text}");
        }
    }

    #[test]
    fn buffer_is_from_40_ms_to_5_s_or_auto() {
        let fixed = |ms| Some(Buffer::Fixed(Duration::from_millis(ms)));
        let table = [
            ("40ms", fixed(40)),
            ("5s", fixed(5_000)),
            ("auto", Some(Buffer::Auto)),
            ("39ms", None),
            ("5.1s", None),
            ("Auto", None),
            ("", None),
        ];
        for (text, expected) in table {
            assert_eq!(buffer(text).ok(), expected, "{text}");
        }
        assert!(buffer_limit("auto").is_err());
    }

    #[test]
    fn group_is_multicast_with_an_even_port() {
        let table = [
            ("239.1.2.3", Ok("239.1.2.3:5004")),
            ("239.1.2.3:6000", Ok("239.1.2.3:6000")),
            ("ff15::1", Ok("[ff15::1]:5004")),
            ("[ff15::1]", Ok("[ff15::1]:5004")),
            ("[ff15::1]:65532", Ok("[ff15::1]:65532")),
            ("239.1.2.3:6001", Err(())),
            ("239.1.2.3:65534", Err(())),
            ("239.1.2.3:1022", Err(())),
            ("10.0.0.1", Err(())),
            ("[fe80::1]:5004", Err(())),
            ("ff01::1", Err(())),
            ("music", Err(())),
        ];
        for (text, expected) in table {
            assert_eq!(
                group(text).map(|g| g.to_string()).map_err(drop),
                expected.map(String::from),
                "{text}"
            );
        }
    }
}
