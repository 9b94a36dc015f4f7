//! How does a standard player find the station?
//!
//! By a session description (RFC 8866) with the payload format of RFC 7587. No `source-filter` and no `a=ssrc`: with either
//! one ffmpeg, GStreamer or VLC would stay with the first sender and not follow a takeover; `opus` is written in lower case
//! because some players compare it so (FACTS).

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::media::PAYLOAD_TYPE;

/// The session name of a station that has none.
const DEFAULT_NAME: &str = "lanradio";

/// What a description says; its `Display` is the file, each line ended by CRLF.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Names the session, with `address`: one number for the station's life.
    pub origin: u64,
    /// Where the sender is; unspecified (`0.0.0.0`, `::`) if nobody is on air.
    pub address: IpAddr,
    /// The group and the port of the media.
    pub group: SocketAddr,
    /// How many routers the packets pass, plus one; said for IPv4 only (RFC 8866 section 5.7).
    pub ttl: u32,
    /// What the station is called; control characters are left out.
    pub name: String,
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |text: fmt::Arguments<'_>| write!(f, "{text}\r\n");
        let group = self.group.ip();
        line(format_args!("v=0"))?;
        line(format_args!(
            "o=- {} 1 IN {} {}",
            self.origin,
            family(self.address),
            self.address
        ))?;
        line(format_args!("s={}", session_name(&self.name)))?;
        match group {
            IpAddr::V4(_) => line(format_args!("c=IN IP4 {group}/{}", self.ttl))?,
            IpAddr::V6(_) => line(format_args!("c=IN IP6 {group}"))?,
        }
        line(format_args!("t=0 0"))?;
        line(format_args!(
            "m=audio {} RTP/AVP {PAYLOAD_TYPE}",
            self.group.port()
        ))?;
        line(format_args!("a=rtpmap:{PAYLOAD_TYPE} opus/48000/2"))?;
        line(format_args!(
            "a=fmtp:{PAYLOAD_TYPE} sprop-stereo=1;stereo=1"
        ))?;
        line(format_args!("a=ptime:20"))?;
        line(format_args!("a=extmap:1 urn:x-lanradio:frame"))
    }
}

fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "IP4" } else { "IP6" }
}

/// A session name is one line and never empty (RFC 8866 section 5.3).
fn session_name(name: &str) -> String {
    let clean: String = name.chars().filter(|c| !c.is_control()).collect();
    match clean.trim() {
        "" => DEFAULT_NAME.to_owned(),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn description(address: &str, group: &str, name: &str) -> String {
        let [address, group] = [address, group].map(str::to_owned);
        Description {
            origin: 42,
            address: address.parse().unwrap(),
            group: group.parse().unwrap(),
            ttl: 3,
            name: name.to_owned(),
        }
        .to_string()
    }

    #[test]
    fn an_ipv4_description_is_these_lines() {
        let expected = "v=0\r\n\
            o=- 42 1 IN IP4 192.0.2.7\r\n\
            s=Café 3\r\n\
            c=IN IP4 239.255.77.77/3\r\n\
            t=0 0\r\n\
            m=audio 5004 RTP/AVP 96\r\n\
            a=rtpmap:96 opus/48000/2\r\n\
            a=fmtp:96 sprop-stereo=1;stereo=1\r\n\
            a=ptime:20\r\n\
            a=extmap:1 urn:x-lanradio:frame\r\n";
        assert_eq!(
            description("192.0.2.7", "239.255.77.77:5004", "Café 3"),
            expected
        );
    }

    #[test]
    fn an_ipv6_group_has_no_ttl() {
        let text = description("::", "[ff15::cc52:1]:5004", "x");
        assert!(text.contains("\r\nc=IN IP6 ff15::cc52:1\r\n"), "{text}");
        assert!(text.contains("\r\no=- 42 1 IN IP6 ::\r\n"), "{text}");
    }

    #[test]
    fn a_name_cannot_break_out_of_its_line_and_is_never_empty() {
        for (name, line) in [
            ("a\r\nm=audio 1 RTP/AVP 0", "s=am=audio 1 RTP/AVP 0"),
            ("\u{1b}[2J", "s=[2J"),
            ("", "s=lanradio"),
            (" \n\u{0}", "s=lanradio"),
        ] {
            let text = description("0.0.0.0", "239.255.77.77:5004", name);
            assert_eq!(text.split("\r\n").nth(2), Some(line));
            assert_eq!(text.matches("m=audio 5004").count(), 1);
        }
    }
}
