//! What can a user say? The command line of DESIGN 5, as far as it is built.
//!
//! Every flag has an environment variable `LANRADIO_…`; flag before variable before default is clap's own order.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser as _};
use clap::{Args, Parser, Subcommand, ValueEnum};

use super::values::{self, Buffer};
use crate::app::output::OutputConfig;
use crate::wire::election::MAX_QUORUM;

const EXAMPLES: &str = "\
Examples:
  lanradio send song.flac      play a file to everybody on this network
  lanradio listen              hear it on the other machines
";
const SEND_EXAMPLES: &str = "\
Examples:
  lanradio send first.mp3 second.flac          several files, one after the other
  ffmpeg -i http://… -f wav - | lanradio send -   whatever comes through a pipe
";
const LISTEN_EXAMPLES: &str = "\
Examples:
  lanradio listen                                   play on the speakers, whenever something is on air
  lanradio listen --output USB                      on the device whose name begins so (see lanradio devices)
  lanradio listen --output file:heard.wav --once    record one programme, then exit
  lanradio listen --output - | aplay -f cd -r 48000   play through another program
  lanradio listen --buffer auto                     as soon after it is sent as this network allows
";
const STATUS_EXAMPLES: &str = "\
Examples:
  lanradio status                          a table; of those that suffer all figures
  lanradio status -v                       all figures of all that listen
  lanradio status --json | jq .playing     for scripts
  lanradio status --json | jq '.nodes[] | select(.suffers) | .name, .fares'
";
const SDP_EXAMPLES: &str = "\
Examples:
  lanradio sdp > station.sdp && ffplay -protocol_whitelist file,rtp,udp station.sdp
  lanradio sdp --group 239.255.1.2:6000
";

/// A radio station on the local network that nobody can knock off the air.
#[derive(Debug, Parser)]
#[command(name = "lanradio", version, before_help = EXAMPLES, subcommand_required = true, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Play music files (or standard input) to the network; if a station is on air, after what it plays.
    #[command(before_help = SEND_EXAMPLES)]
    Send(SendArgs),
    /// Play what is on air: a station, or Opus in RTP of another program (ffmpeg, GStreamer).
    #[command(before_help = LISTEN_EXAMPLES)]
    Listen(ListenArgs),
    /// Show the station as its leader sees it: nodes, roles, who suffers, what plays.
    ///
    /// The figures count since each node was started: frames (20 ms) received, repaired (lost by the network and had in time from
    /// another node or the node's own copy), late (came after their time: a longer --buffer helps), lost (never came: look at
    /// Wi-Fi, cable, switch), concealed (heard as a hole). "sync" is how much later (+) or earlier (-) than it should what is heard
    /// leaves the sound device (for files and pipes: is written), "now" is about the ten seconds before the node's last report.
    #[command(before_help = STATUS_EXAMPLES)]
    Status(StatusArgs),
    /// End the programme for everybody.
    Stop(StopArgs),
    /// Print the session description of the station, for ffplay, VLC or GStreamer.
    #[command(before_help = SDP_EXAMPLES)]
    Sdp(SdpArgs),
    /// List the output devices and network interfaces, the default ones marked with a star.
    Devices(DevicesArgs),
}

/// `lanradio send`.
#[derive(Debug, Args)]
pub struct SendArgs {
    /// Music files, played in order; `-` reads standard input and finds out its format.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Play the list for ever.
    #[arg(long, env = "LANRADIO_LOOP", value_parser = clap::builder::BoolishValueParser::new(), num_args = 0, action = clap::ArgAction::SetTrue)]
    pub r#loop: bool,
    /// Bitrate of the encoder in kbit/s.
    #[arg(long, env = "LANRADIO_BITRATE", value_name = "KBPS", default_value_t = 128, value_parser = clap::value_parser!(u32).range(6..=510))]
    pub bitrate: u32,
    /// Effort of the encoder, 0 to 10.
    #[arg(long, env = "LANRADIO_COMPLEXITY", value_name = "0..10", default_value_t = 10, value_parser = clap::value_parser!(u8).range(0..=10))]
    pub complexity: u8,
    /// Play here, too, on the default sound device, in step with the listeners (on another one: lanradio listen --output beside it).
    #[arg(long, env = "LANRADIO_LISTEN", value_parser = clap::builder::BoolishValueParser::new(), num_args = 0, action = clap::ArgAction::SetTrue)]
    pub listen: bool,
    /// What all commands share.
    #[command(flatten)]
    pub common: CommonArgs,
}

/// `lanradio listen`.
#[derive(Debug, Args)]
pub struct ListenArgs {
    /// Where the sound goes: the default device, another one by its name or the beginning of it (see lanradio devices), null,
    /// file:PATH.wav, or - for s16le 48 kHz stereo on standard output.
    #[arg(long, env = "LANRADIO_OUTPUT", value_name = "default|NAME|null|file:PATH.wav|-", default_value = "default", value_parser = OsStringValueParser::new().try_map(values::output))]
    pub output: OutputConfig,
    /// Loudness in percent, 0 to 200; 100 leaves the samples untouched.
    #[arg(long, env = "LANRADIO_VOLUME", value_name = "PERCENT", default_value_t = 100, value_parser = clap::value_parser!(u16).range(0..=200))]
    pub volume: u16,
    /// Be heard so much later than the other listeners, or earlier (-20ms): a room that is far away, an amplifier that takes its time. Down
    /// to 40ms short of the buffer, up to 5s.
    #[arg(long, env = "LANRADIO_DELAY", value_name = "DURATION", value_parser = values::delay_us, allow_hyphen_values = true)]
    pub delay: Option<i64>,
    /// Exit when the programme ends instead of waiting for the next one. Another program's ends with its RTCP goodbye or after 5 s
    /// of nothing.
    #[arg(long, env = "LANRADIO_ONCE", value_parser = clap::builder::BoolishValueParser::new(), num_args = 0, action = clap::ArgAction::SetTrue)]
    pub once: bool,
    /// Never take over when the sender drops, and keep no copy of what it plays.
    #[arg(long, env = "LANRADIO_NO_STANDBY", value_parser = clap::builder::BoolishValueParser::new(), num_args = 0, action = clap::ArgAction::SetTrue)]
    pub no_standby: bool,
    /// Among nodes that could take over, one with a higher number goes first.
    #[arg(
        long,
        env = "LANRADIO_PRIORITY",
        value_name = "N",
        default_value_t = 0,
        allow_negative_numbers = true,
        hide_short_help = true
    )]
    pub priority: i16,
    /// Memory for the copy of the programme, such as 512MiB.
    #[arg(long, env = "LANRADIO_CACHE", value_name = "SIZE", default_value = "512MiB", value_parser = values::size, hide_short_help = true)]
    pub cache: u64,
    /// Exit with code 3 if no station is heard in this time (default: wait for ever).
    #[arg(long, env = "LANRADIO_TIMEOUT", value_name = "DURATION", value_parser = values::duration)]
    pub timeout: Option<Duration>,
    /// The shortest that --buffer auto makes the buffer (default 60ms).
    #[arg(long, env = "LANRADIO_MIN_BUFFER", value_name = "DURATION", value_parser = values::buffer_limit, hide_short_help = true)]
    pub min_buffer: Option<Duration>,
    /// The longest that --buffer auto makes the buffer (default 2s). It grows at once when frames come late, and shrinks by 9 ms a
    /// minute when they do not, so that nobody hears it; while nothing plays, at once.
    #[arg(long, env = "LANRADIO_MAX_BUFFER", value_name = "DURATION", value_parser = values::buffer_limit, hide_short_help = true)]
    pub max_buffer: Option<Duration>,
    /// What all commands share.
    #[command(flatten)]
    pub common: CommonArgs,
}

/// `lanradio sdp`.
#[derive(Debug, Args)]
pub struct SdpArgs {
    /// What all commands share.
    #[command(flatten)]
    pub common: CommonArgs,
}

/// `lanradio status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// As one JSON object, for scripts.
    #[arg(long, env = "LANRADIO_JSON", value_parser = clap::builder::BoolishValueParser::new(), num_args = 0, action = clap::ArgAction::SetTrue)]
    pub json: bool,
    /// What all commands share.
    #[command(flatten)]
    pub common: CommonArgs,
}

/// `lanradio stop`.
#[derive(Debug, Args)]
pub struct StopArgs {
    /// What all commands share.
    #[command(flatten)]
    pub common: CommonArgs,
}

/// `lanradio devices`.
#[derive(Debug, Args)]
pub struct DevicesArgs {
    /// What all commands share.
    #[command(flatten)]
    pub common: CommonArgs,
}

/// Flags of every command.
#[derive(Debug, Args)]
pub struct CommonArgs {
    /// How long after it is due a frame is played (40ms to 5s). On send: the station's (default 500ms); on listen: this
    /// listener's own (default: the station's), or auto: as long as this network needs it.
    #[arg(long, env = "LANRADIO_BUFFER", value_name = "DURATION|auto", value_parser = values::buffer)]
    pub buffer: Option<Buffer>,
    /// Multicast group and port of the station; the port is even, from 1024 to 65532.
    #[arg(long, env = "LANRADIO_GROUP", value_name = "ADDR[:PORT]", default_value = values::DEFAULT_GROUP, value_parser = values::group)]
    pub group: SocketAddr,
    /// Network interface, by name or address (default: the one that leads to the group).
    #[arg(long, env = "LANRADIO_INTERFACE", value_name = "NAME|ADDR")]
    pub interface: Option<String>,
    /// How many routers a packet may cross.
    #[arg(long, env = "LANRADIO_TTL", value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..))]
    pub ttl: u8,
    /// This node's name (default: the host name).
    #[arg(long, env = "LANRADIO_NAME", value_name = "NAME", value_parser = values::name)]
    pub name: Option<String>,
    /// How many nodes, the leader included, have to agree for one to lead (default 1). With 1 a lone survivor plays on; with more
    /// than half of all nodes at most one side of a cut network plays. The value of the node that founds the station rules it.
    #[arg(long, env = "LANRADIO_QUORUM", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=i64::from(MAX_QUORUM)), hide_short_help = true)]
    pub quorum: Option<u16>,
    /// Address and port of this node's HTTP API (default: any port of the station's interface).
    #[arg(
        long,
        env = "LANRADIO_HTTP",
        value_name = "ADDR:PORT",
        hide_short_help = true
    )]
    pub http: Option<SocketAddr>,
    /// Append one JSON object per event to this file; - is standard output.
    #[arg(long, env = "LANRADIO_EVENTS", value_name = "PATH")]
    pub events: Option<PathBuf>,
    /// Say more.
    #[arg(short, long, env = "LANRADIO_VERBOSE", value_parser = clap::builder::BoolishValueParser::new(), num_args = 0, action = clap::ArgAction::SetTrue)]
    pub verbose: bool,
    /// Say nothing but warnings and errors.
    #[arg(short, long, env = "LANRADIO_QUIET", value_parser = clap::builder::BoolishValueParser::new(), num_args = 0, action = clap::ArgAction::SetTrue)]
    pub quiet: bool,
    /// Colour in the status on standard error; NO_COLOR is honoured.
    #[arg(
        long,
        env = "LANRADIO_COLOR",
        value_name = "WHEN",
        default_value = "auto"
    )]
    pub color: Color,
}

/// When to use colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}
