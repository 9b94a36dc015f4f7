//! What users say and what they are told: flags ([`args`], [`values`]), the status on standard error ([`status`]), exit codes.

pub mod args;
pub mod status;
pub mod values;

use std::ffi::OsStr;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::error::{ContextKind, ContextValue, Error, ErrorKind};
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches};

use crate::app::console::Console;
use crate::app::control::Form;
use crate::app::error::AppError;
use crate::app::listen::ListenConfig;
use crate::app::output::OutputConfig;
use crate::app::send::SendConfig;
use crate::app::session::CommonConfig;
use crate::app::{control, describe, devices, listen, send};
use crate::io::terminal;
use crate::media::opus::EncoderConfig;
use crate::playout::player::{BufferChoice, LEAST_WAIT};
use args::{Cli, Command, CommonArgs, ListenArgs, SdpArgs, SendArgs, StatusArgs};
use status::StderrConsole;
use values::Buffer;

/// A station's buffer, unless its founder chooses another.
const DEFAULT_BUFFER: Duration = Duration::from_millis(500);
/// The limits of `--buffer auto`, unless the listener chooses others.
const MIN_BUFFER: Duration = Duration::from_millis(60);
const MAX_BUFFER: Duration = Duration::from_secs(2);

/// The whole program: reads the command line, runs the command, answers with the exit code of DESIGN 5.
pub fn main() -> ExitCode {
    let matches = command_line()
        .try_get_matches()
        .unwrap_or_else(|error| refuse(&error));
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    if let Err(error) = check(&cli.command).and_then(|()| check_buffer(&matches, &cli.command)) {
        error.exit();
    }
    let common = match &cli.command {
        Command::Send(args) => &args.common,
        Command::Listen(args) => &args.common,
        Command::Status(args) => &args.common,
        Command::Stop(args) => &args.common,
        Command::Sdp(args) => &args.common,
        Command::Devices(args) => &args.common,
    };
    let (quiet, verbose) = loudness(&matches, common).unwrap_or_else(|error| error.exit());
    let mut console = StderrConsole::new(common.color, quiet, verbose);
    let outcome = match &cli.command {
        Command::Send(args) => send::run(&send_config(args), &mut console),
        Command::Listen(args) => listen::run(&listen_config(args), &mut console),
        Command::Sdp(args) => {
            describe::run(&common_config(&args.common), &mut console).and_then(|text| print(&text))
        }
        Command::Status(args) => {
            let common = common_config(&args.common);
            let form = match (args.json, verbose) {
                (true, _) => Form::Json,
                (false, true) => Form::AllFigures,
                (false, false) => Form::Table,
            };
            control::status(&common, form, &mut console).and_then(|text| print(&text))
        }
        Command::Stop(args) => control::stop(&common_config(&args.common), &mut console),
        Command::Devices(args) => {
            let common = &args.common;
            devices::run(common.group.ip(), common.interface.as_deref())
                .and_then(|text| print(&text))
        }
    };
    console.finish();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody can be told that standard error is gone.
            let text = terminal::sanitize(&error.to_string());
            let _ = writeln!(std::io::stderr(), "lanradio: {text}");
            ExitCode::from(error.exit_code())
        }
    }
}

/// The command line, in which a variable that is set to nothing counts as not set: unit and compose files are full of them.
fn command_line() -> clap::Command {
    let is_empty = |name: &OsStr| std::env::var_os(name).is_some_and(|value| value.is_empty());
    let heed = move |arg: clap::Arg| match arg.get_env() {
        Some(name) if is_empty(name) => arg.env(None::<&'static str>),
        _ => arg,
    };
    Cli::command().mut_subcommands(move |command| command.mut_args(heed))
}

/// Ends with clap's error; if a variable is to blame, says which: the error names a flag that nobody typed.
fn refuse(error: &Error) -> ! {
    let _ = error.print();
    if let Some(ContextValue::String(arg)) = error.get(ContextKind::InvalidArg)
        && let Some(flag) = arg
            .split([' ', '='])
            .next()
            .and_then(|arg| arg.strip_prefix("--"))
    {
        let typed = std::env::args_os().any(|word| {
            let word = word.to_string_lossy();
            word.strip_prefix("--")
                .and_then(|word| word.split('=').next())
                == Some(flag)
        });
        let variable = format!("LANRADIO_{}", flag.to_uppercase().replace('-', "_"));
        if !typed && std::env::var_os(&variable).is_some() {
            let _ = writeln!(
                std::io::stderr(),
                "\nThe value comes from the variable {variable}."
            );
        }
    }
    std::process::exit(error.exit_code());
}

/// An error of one command: its usage, and its own help.
fn error_of(command: &str, kind: ErrorKind, text: &str) -> Error {
    let mut cli = Cli::command();
    cli.build();
    match cli.find_subcommand_mut(command) {
        Some(command) => command.error(kind, text),
        None => cli.error(kind, text),
    }
}

/// `-q` and `-v` exclude each other; a flag beats the variable of its opposite.
fn loudness(matches: &ArgMatches, common: &CommonArgs) -> Result<(bool, bool), Error> {
    let typed = |flag: &str| {
        let source = matches
            .subcommand()
            .and_then(|(_, command)| command.value_source(flag));
        source == Some(ValueSource::CommandLine)
    };
    match (
        common.quiet && typed("quiet"),
        common.verbose && typed("verbose"),
    ) {
        (true, true) => Err(error_of(
            matches.subcommand_name().unwrap_or_default(),
            ErrorKind::ArgumentConflict,
            "--quiet and --verbose exclude each other",
        )),
        (true, false) => Ok((true, false)),
        (false, true) => Ok((false, true)),
        (false, false) => Ok((common.quiet, common.verbose)),
    }
}

/// What is wrong with the command line beyond single values: exit code 2.
fn check(command: &Command) -> Result<(), Error> {
    let name = match command {
        Command::Send(_) => "send",
        Command::Listen(_) => "listen",
        Command::Status(_) => "status",
        Command::Stop(_) => "stop",
        Command::Sdp(_) => "sdp",
        Command::Devices(_) => "devices",
    };
    let usage = |text: &str| Err(error_of(name, ErrorKind::ValueValidation, text));
    let is_stdout = |path: &Path| path.as_os_str() == "-";
    match command {
        Command::Send(args) => match args.files.iter().filter(|file| is_stdout(file)).count() {
            0 => Ok(()),
            1 if terminal::stdin_is_terminal() => {
                usage("standard input is a terminal; pipe music into it: … | lanradio send -")
            }
            1 => Ok(()),
            _ => usage("standard input can be read only once: one - is enough"),
        },
        Command::Listen(args) => {
            let events = args.common.events.as_deref().is_some_and(is_stdout);
            match &args.output {
                OutputConfig::Stdout if events => usage(
                    "--output - and --events - both want standard output (stdout); send one of them to a file",
                ),
                _ => Ok(()),
            }
        }
        Command::Sdp(SdpArgs { common }) | Command::Status(StatusArgs { common, .. })
            if common.events.as_deref().is_some_and(is_stdout) =>
        {
            usage(&format!(
                "{name} and --events - both want standard output (stdout); send the events to a file"
            ))
        }
        Command::Sdp(_) | Command::Status(_) | Command::Stop(_) | Command::Devices(_) => Ok(()),
    }
}

/// `auto` is a listener's, and its limits mean something with it only. A buffer that is typed beats limits that come from variables.
fn check_buffer(matches: &ArgMatches, command: &Command) -> Result<(), Error> {
    let refuse = |command, text: &str| Err(error_of(command, ErrorKind::ValueValidation, text));
    let args = match command {
        Command::Send(args) if args.common.buffer == Some(Buffer::Auto) => {
            return refuse(
                "send",
                "--buffer auto is for listen: a station has one buffer for all; write a duration from 40ms to 5s",
            );
        }
        Command::Listen(args) => args,
        _ => return Ok(()),
    };
    let typed = |flag: &str| {
        let source = matches
            .subcommand()
            .and_then(|(_, command)| command.value_source(flag));
        source == Some(ValueSource::CommandLine)
    };
    if let (Some(Buffer::Fixed(buffer)), Some(delay_us)) = (args.common.buffer, args.delay)
        && (buffer.as_micros() as i64).saturating_add(delay_us) < LEAST_WAIT.as_micros() as i64
    {
        return refuse(
            "listen",
            &format!(
                "--delay may be negative down to 40ms short of the buffer: with --buffer {buffer:?} no less than -{:?}",
                buffer.saturating_sub(LEAST_WAIT)
            ),
        );
    }
    let (min, max) = (args.min_buffer, args.max_buffer);
    if args.common.buffer == Some(Buffer::Auto) {
        let (min, max) = buffer_limits(args);
        return match min <= max {
            true => Ok(()),
            false => refuse(
                "listen",
                &format!("--min-buffer {min:?} is more than --max-buffer {max:?}; give both"),
            ),
        };
    }
    let beaten = typed("buffer") && !typed("min_buffer") && !typed("max_buffer");
    if beaten || min.is_none() && max.is_none() {
        return Ok(());
    }
    let flag = if min.is_some() {
        "--min-buffer"
    } else {
        "--max-buffer"
    };
    refuse("listen", &format!("{flag} needs --buffer auto"))
}

/// The limits of `--buffer auto`.
fn buffer_limits(args: &ListenArgs) -> (Duration, Duration) {
    (
        args.min_buffer.unwrap_or(MIN_BUFFER),
        args.max_buffer.unwrap_or(MAX_BUFFER),
    )
}

fn common_config(args: &CommonArgs) -> CommonConfig {
    CommonConfig {
        group: args.group,
        interface: args.interface.clone(),
        ttl: args.ttl,
        name: args.name.clone(),
        events: args.events.clone(),
        http: args.http,
        quorum: args.quorum,
    }
}

fn send_config(args: &SendArgs) -> SendConfig {
    SendConfig {
        common: common_config(&args.common),
        files: args.files.clone(),
        looped: args.r#loop,
        encoder: EncoderConfig {
            bitrate_kbps: args.bitrate,
            complexity: args.complexity,
        },
        buffer: match args.common.buffer {
            Some(Buffer::Fixed(buffer)) => buffer,
            Some(Buffer::Auto) | None => DEFAULT_BUFFER,
        },
        listens: args.listen,
    }
}

fn listen_config(args: &ListenArgs) -> ListenConfig {
    ListenConfig {
        common: common_config(&args.common),
        output: args.output.clone(),
        volume: args.volume,
        once: args.once,
        timeout: args.timeout,
        buffer: match args.common.buffer {
            None => BufferChoice::Station,
            Some(Buffer::Fixed(buffer)) => BufferChoice::Fixed(buffer),
            Some(Buffer::Auto) => {
                let (min, max) = buffer_limits(args);
                BufferChoice::Auto { min, max }
            }
        },
        delay_us: args.delay.unwrap_or_default(),
        standby: !args.no_standby,
        priority: args.priority,
        cache_bytes: args.cache,
    }
}

/// Data for standard output; a reader that has gone is no failure, a full disk is one.
fn print(text: &str) -> Result<(), AppError> {
    let mut out = std::io::stdout();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    match written {
        Err(source) if source.kind() != std::io::ErrorKind::BrokenPipe => Err(AppError::Os {
            action: "writing to standard output",
            source,
        }),
        _ => Ok(()),
    }
}
