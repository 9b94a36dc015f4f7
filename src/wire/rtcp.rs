//! What do standard players learn about the station beside its packets, and what do we learn from other senders?
//!
//! Sender reports tie the timestamps to a clock and SDES gives the source a name (RFC 3550 sections 6.4.1 and 6.5); both
//! travel in one compound packet, as section 6.1 demands. A BYE is sent only when the station ends: GStreamer's rtpbin and
//! ffmpeg take a source off at a BYE, so one at a takeover would silence them (FACTS). Of what others send only the
//! goodbyes matter to us: a stream that says one has ended and was not lost.

use rtcp_types::prelude::*;
use rtcp_types::{
    Bye, Compound, CompoundBuilder, Packet, ReceiverReport, RtcpParseError, Sdes, SdesChunk,
    SdesItem, SenderReport,
};
use thiserror::Error;

use super::ids::{RtpTimestamp, StationId};

/// The longest canonical name, in bytes (RFC 3550 section 6.5: the length is one byte).
pub const MAX_CNAME_BYTES: usize = 255;

/// A sender report with the canonical name of the source: SR + SDES/CNAME.
///
/// `ntp_us` is the station clock in microseconds at the instant that `rtp` stands for; `packets` and `octets` count what
/// was sent since the founding, payload only, modulo 2³² (RFC 3550 section 6.4.1).
pub fn sender_report(
    station: StationId,
    ntp_us: u64,
    rtp: RtpTimestamp,
    packets: u32,
    octets: u32,
    cname: &str,
) -> Vec<u8> {
    let report = SenderReport::builder(station.0)
        .ntp_timestamp(ntp_timestamp(ntp_us))
        .rtp_timestamp(rtp.0)
        .packet_count(packets)
        .octet_count(octets);
    let name = SdesItem::builder(SdesItem::CNAME, super::clip(cname, MAX_CNAME_BYTES));
    let sdes = Sdes::builder().add_chunk(SdesChunk::builder(station.0).add_item(name));
    to_bytes(&Compound::builder().add_packet(report).add_packet(sdes))
}

/// The station's goodbye: an empty RR + SDES/CNAME + BYE (RFC 3550 section 6.6).
pub fn bye(station: StationId, cname: &str) -> Vec<u8> {
    let name = SdesItem::builder(SdesItem::CNAME, super::clip(cname, MAX_CNAME_BYTES));
    let sdes = Sdes::builder().add_chunk(SdesChunk::builder(station.0).add_item(name));
    let goodbye = Bye::builder().add_source(station.0);
    let report = ReceiverReport::builder(station.0);
    to_bytes(
        &Compound::builder()
            .add_packet(report)
            .add_packet(sdes)
            .add_packet(goodbye),
    )
}

/// Why a datagram is no RTCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RtcpError {
    /// Not version 2.
    #[error("RTCP version {0} instead of 2")]
    Version(u8),
    /// Shorter than a header or than its packets say.
    #[error("RTCP of {bytes} bytes is cut short")]
    Truncated {
        /// Size of the datagram.
        bytes: usize,
    },
    /// Padding where or as none can be (RFC 3550 section 6.4.1).
    #[error("RTCP of {bytes} bytes with false padding")]
    Padding {
        /// Size of the datagram.
        bytes: usize,
    },
    /// One of its packets contradicts its own type.
    #[error("RTCP packet number {0} is malformed")]
    Malformed(usize),
}

impl RtcpError {
    /// The name under which it is counted.
    pub const fn reason(&self) -> &'static str {
        match self {
            RtcpError::Version(_) => "rtcp_version",
            RtcpError::Truncated { .. } => "rtcp_truncated",
            RtcpError::Padding { .. } => "rtcp_padding",
            RtcpError::Malformed(_) => "rtcp_malformed",
        }
    }
}

/// Whose goodbyes a datagram of the RTCP port carries; usually nobody's. At most the 31 sources of each BYE (RFC 3550 section 6.6).
///
/// # Errors
/// Says why it is no RTCP: nothing in it is believed then. Never panics.
pub fn goodbyes(datagram: &[u8]) -> Result<Vec<StationId>, RtcpError> {
    let bytes = datagram.len();
    let compound = Compound::parse(datagram).map_err(|error| match error {
        RtcpParseError::UnsupportedVersion(version) => RtcpError::Version(version),
        RtcpParseError::InvalidPadding => RtcpError::Padding { bytes },
        _ => RtcpError::Truncated { bytes },
    })?;
    let mut sources = Vec::new();
    for (number, packet) in compound.enumerate() {
        if let Packet::Bye(bye) = packet.map_err(|_| RtcpError::Malformed(number + 1))? {
            sources.extend(bye.ssrcs().map(StationId));
        }
    }
    Ok(sources)
}

/// Microseconds as NTP's seconds and 2⁻³² seconds (RFC 3550 section 4); the seconds count from the station's founding, not
/// from 1900, which section 4 allows to senders without wall-clock time.
fn ntp_timestamp(us: u64) -> u64 {
    let (seconds, rest) = (us / 1_000_000, us % 1_000_000);
    ((seconds & 0xffff_ffff) << 32) | ((rest << 32) / 1_000_000)
}

/// The builders can only fail on padding or lengths that we never ask for.
fn to_bytes(compound: &CompoundBuilder<'_>) -> Vec<u8> {
    let size = compound.calculate_size().unwrap_or_default();
    let mut bytes = vec![0; size];
    let written = compound.write_into(&mut bytes);
    debug_assert_eq!(written, Ok(size));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STATION: StationId = StationId(0xdead_beef);

    fn cname_of(packet: &Packet<'_>) -> Option<(u32, String)> {
        let Packet::Sdes(sdes) = packet else {
            return None;
        };
        let chunk = sdes.chunks().next()?;
        let item = chunk.items().find(|item| item.type_() == SdesItem::CNAME)?;
        Some((chunk.ssrc(), item.get_value_string().ok()?))
    }

    fn packets(bytes: &[u8]) -> Vec<Packet<'_>> {
        Compound::parse(bytes)
            .unwrap()
            .map(Result::unwrap)
            .collect()
    }

    #[test]
    fn a_sender_report_says_what_it_was_told() {
        let bytes = sender_report(
            STATION,
            3_500_000,
            RtpTimestamp(960),
            7,
            2_100,
            "0123456789abcdef",
        );
        let [Packet::Sr(report), sdes] = &packets(&bytes)[..] else {
            panic!("SR + SDES")
        };
        assert_eq!(report.ssrc(), STATION.0);
        assert_eq!(report.ntp_timestamp(), 3 << 32 | 1 << 31);
        assert_eq!(
            (
                report.rtp_timestamp(),
                report.packet_count(),
                report.octet_count()
            ),
            (960, 7, 2_100)
        );
        assert_eq!(report.n_reports(), 0);
        assert_eq!(cname_of(sdes), Some((STATION.0, "0123456789abcdef".into())));
        assert_eq!(goodbyes(&bytes), Ok(vec![]));
    }

    #[test]
    fn ntp_fraction_is_of_a_second_and_seconds_wrap() {
        assert_eq!(ntp_timestamp(0), 0);
        assert_eq!(ntp_timestamp(250_000), 1 << 30);
        assert_eq!(ntp_timestamp(999_999), (999_999 << 32) / 1_000_000);
        assert_eq!(ntp_timestamp((1 << 32) * 1_000_000 + 500_000), 1 << 31);
    }

    #[test]
    fn a_goodbye_comes_with_report_and_name() {
        let bytes = bye(STATION, "name");
        let [Packet::Rr(report), sdes, Packet::Bye(goodbye)] = &packets(&bytes)[..] else {
            panic!("RR + SDES + BYE")
        };
        assert_eq!((report.ssrc(), report.n_reports()), (STATION.0, 0));
        assert_eq!(cname_of(sdes), Some((STATION.0, "name".into())));
        assert_eq!(goodbye.ssrcs().collect::<Vec<_>>(), [STATION.0]);
        assert_eq!(goodbyes(&bytes), Ok(vec![STATION]));
    }

    #[test]
    fn a_name_too_long_is_cut_between_characters() {
        let bytes = bye(STATION, &"é".repeat(200));
        assert_eq!(cname_of(&packets(&bytes)[1]).unwrap().1, "é".repeat(127));
    }

    #[test]
    fn goodbyes_of_others_are_found_and_every_way_to_be_wrong_has_its_reason() {
        let report = sender_report(STATION, 0, RtpTimestamp(0), 0, 0, "name");
        let lone: [u8; 12] = [0x82, 203, 0, 2, 0, 0, 0, 7, 0, 0, 0, 9];
        let both = Ok(vec![StationId(7), StationId(9)]);
        assert_eq!(goodbyes(&lone), both);
        assert_eq!(goodbyes(&[&report[..], &lone].concat()), both);
        let bytes = report.len();
        let with = |at: usize, value: u8| {
            let mut bytes = report.clone();
            bytes[at] = value;
            bytes
        };
        let table: &[(&str, Vec<u8>, RtcpError)] = &[
            ("empty", vec![], RtcpError::Truncated { bytes: 0 }),
            ("version 1", with(0, 0x40), RtcpError::Version(1)),
            (
                "cut",
                report[..20].to_vec(),
                RtcpError::Truncated { bytes: 20 },
            ),
            (
                "padding in the first",
                with(0, 0xa0),
                RtcpError::Padding { bytes },
            ),
            ("31 reports", with(0, 0x9f), RtcpError::Malformed(1)),
        ];
        for (name, bytes, error) in table {
            assert_eq!(goodbyes(bytes), Err(*error), "{name}");
        }
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            let _ = goodbyes(&bytes);
        }

        #[test]
        fn a_damaged_goodbye_never_panics(at in 0usize..48, value: u8, length in 0usize..60) {
            let mut bytes = bye(STATION, "name");
            let at = at % bytes.len();
            bytes[at] = value;
            bytes.truncate(length);
            let _ = goodbyes(&bytes);
        }

        #[test]
        fn any_numbers_and_name_can_be_sent(ntp_us: u64, rtp: u32, packets: u32, octets: u32, cname: String) {
            let bytes = sender_report(StationId(rtp), ntp_us, RtpTimestamp(rtp), packets, octets, &cname);
            prop_assert!(Compound::parse(&bytes).is_ok());
        }
    }
}
