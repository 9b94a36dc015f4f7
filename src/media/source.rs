//! What sound is in this file? Any file or pipe becomes interleaved 48 kHz stereo.
//!
//! The first packet is decoded while the source is opened: several containers know rate and channels only then, and
//! what looks like audio by its first bytes alone (random bytes with an MP3 sync word in them) is refused at once
//! instead of in the middle of the programme. After that everything that can be decoded is delivered first; an error
//! comes once, after the last sample before it.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Cursor, ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;

use symphonia::core::audio::AudioSpec;
use symphonia::core::errors::Error as SymphoniaError;
use symphonia::core::formats::FormatReader;
use symphonia::core::io::{MediaSource, ReadOnlySource};
use symphonia::core::packet::Packet;
use symphonia::core::units::Duration;

use super::SAMPLE_RATE;
use super::aac::FirstFrames;
use super::container::{Chosen, check_rate, choose, is_mp4, probe, samples_before_zero};
use super::downmix::Downmix;
use super::edits::{Edit, Window};
use super::format_hints::{FILE_HEAD_BYTES, HEAD_BYTES, describe, describe_windows_codec};
use super::guard::guarded;
use super::resample::{Resampler, interleave, samples_at_48k};
pub use super::source_error::SourceError;
pub use super::tags::Tags;

/// Packets in a row that cannot be decoded before a source counts as broken; single ones are skipped.
pub const MAX_BAD_PACKETS: u32 = 50;
/// A source that is at most this much shorter than its header promises has ended, not been cut off.
const TRUNCATION_SLACK_SECONDS: f64 = 0.05;

/// A file or a pipe, decoded as it is read.
pub struct Source {
    format: Box<dyn FormatReader>,
    /// What was read of it to look at, and is still to be decoded: a few packets.
    ahead: VecDeque<Next>,
    chosen: Chosen,
    tags: Tags,
    /// What a tag says of which part is to be heard, and what is left of that.
    edit: Option<Edit>,
    window: Window,
    /// The last decoded packet: a plane for each channel, and what they are.
    planes: Vec<Vec<f32>>,
    spec: AudioSpec,
    /// What the three below are made for.
    playing: AudioSpec,
    downmix: Option<Downmix>,
    /// The last packet mixed to left and right.
    stereo: [Vec<f32>; 2],
    /// `None` at 48 kHz.
    resampler: Option<Resampler>,
    /// Seconds decoded, and seconds lost in packets that were skipped.
    delivered_seconds: f64,
    skipped_seconds: f64,
    /// Packets in a row that could not be decoded.
    bad_packets: u32,
    state: State,
}

/// What a reader answered; the outer error is a panic.
type Next = Result<Result<Option<Packet>, SymphoniaError>, String>;

enum State {
    /// The first packet is decoded and waits in `planes`.
    Primed,
    Running,
    /// Everything was delivered; the error is still to be told.
    Failed(SourceError),
    Ended,
}

/// Where decoding got to.
enum Step {
    Decoded,
    End,
}

impl Source {
    /// Opens a file and decodes its first packet.
    ///
    /// # Errors
    /// Whatever [`SourceError`] names, except `Broken` and `Truncated`.
    pub fn open(path: &Path) -> Result<Source, SourceError> {
        let metadata = std::fs::metadata(path).map_err(unopened)?;
        if metadata.is_dir() {
            return Err(SourceError::Directory);
        }
        // Before opening: that of a named pipe would wait for a writer.
        if !metadata.is_file() {
            return Err(SourceError::NotAFile);
        }
        let mut file = File::open(path).map_err(unopened)?;
        let head = read_head(&mut file, FILE_HEAD_BYTES)?;
        refuse_unplayable(&head)?;
        let told = guarded(|| {
            let info = super::riff_info::read(&mut file);
            (info, super::edits::read(&mut file))
        });
        let (info, edits) = told.unwrap_or_default();
        let extension = path.extension().and_then(|extension| extension.to_str());
        let opened = Source::new(Box::new(rewound(file)?), &head, extension);
        let mut source = match opened {
            Err(error @ (SourceError::NotAudio { .. } | SourceError::IndexMissing)) => {
                Source::open_as_pipe(path, &head, extension).ok_or(error)?
            }
            Err(SourceError::NoAudioTrack) => {
                let codec = describe_windows_codec(&head).map(str::to_owned);
                return Err(codec.map_or(SourceError::NoAudioTrack, SourceError::Codec));
            }
            opened => opened?,
        };
        source.apply(&edits);
        if source.chosen.cut_to_estimate
            && let Some(whole) = Source::open_as_pipe(path, &head, extension)
        {
            source.replace_stream(whole);
        }
        let tags = &mut source.tags;
        tags.title = tags.title.take().or(info.title);
        tags.artist = tags.artist.take().or(info.artist);
        Ok(source)
    }

    /// Opens a file as if it were a pipe. Several readers look for the end of a file first and refuse one that was cut
    /// off, which as a pipe plays up to there.
    fn open_as_pipe(path: &Path, head: &[u8], extension: Option<&str>) -> Option<Source> {
        let media = ReadOnlySource::new(File::open(path).ok()?);
        Source::new(Box::new(media), head, extension).ok()
    }

    /// Decodes what comes out of `reader`, from its beginning and without jumping. `name` may end in an extension that
    /// helps to guess the format. Waits until the first packet is there.
    ///
    /// # Errors
    /// As [`Source::open`], [`SourceError::IndexAtEnd`] and [`SourceError::NeedsFile`].
    pub fn from_reader(
        mut reader: Box<dyn Read + Send + Sync>,
        name: &str,
    ) -> Result<Source, SourceError> {
        let head = read_head(&mut reader, HEAD_BYTES)?;
        refuse_unplayable(&head)?;
        let whole = Cursor::new(head.clone()).chain(reader);
        let extension = Path::new(name).extension().and_then(|e| e.to_str());
        Source::new(Box::new(ReadOnlySource::new(whole)), &head, extension)
    }

    /// Title and artist.
    pub fn tags(&self) -> &Tags {
        &self.tags
    }

    /// The track's length in samples at 48 kHz, if the container says (it may estimate it from the bitrate).
    pub fn known_samples(&self) -> Option<u64> {
        let known = self.chosen.length.known?;
        (self.playing.rate() > 0).then(|| samples_at_48k(known, self.playing.rate()))
    }

    /// Appends the next samples, left and right in turn, and says how many pairs; 0 at the end. Returns as soon as
    /// there is something, so that a slow pipe is heard while it flows.
    ///
    /// # Errors
    /// `Broken` or `Truncated`, once, after everything before was delivered; then the source is at its end.
    pub fn read(&mut self, out: &mut Vec<f32>) -> Result<usize, SourceError> {
        let start = out.len();
        while out.len() == start {
            match std::mem::replace(&mut self.state, State::Ended) {
                State::Primed => {
                    self.state = State::Running;
                    self.guard(out, Source::deliver);
                }
                State::Running => self.guard(out, Source::run),
                State::Failed(error) => return Err(error),
                State::Ended => return Ok(0),
            }
        }
        Ok((out.len() - start) / 2)
    }

    fn new(
        media: Box<dyn MediaSource>,
        head: &[u8],
        extension: Option<&str>,
    ) -> Result<Source, SourceError> {
        let byte_length = media.is_seekable().then(|| media.byte_len()).flatten();
        let recognised = guarded(|| {
            let mut format = probe(media, head, extension)?;
            let chosen = choose(format.as_ref(), byte_length)?;
            let (tags, edit) = super::tags::read(format.as_mut(), chosen.track_id);
            let edit = edit.filter(|_| is_mp4(format.as_ref()));
            Ok((format, chosen, tags, edit))
        });
        let (format, chosen, tags, edit) =
            recognised.unwrap_or_else(|what| Err(SourceError::NotAudio { what }))?;
        let mut source = Source {
            format,
            ahead: VecDeque::new(),
            chosen,
            tags,
            edit,
            window: Window::ALL,
            planes: Vec::new(),
            spec: AudioSpec::default(),
            playing: AudioSpec::default(),
            downmix: None,
            stereo: [Vec::new(), Vec::new()],
            resampler: None,
            delivered_seconds: 0.0,
            skipped_seconds: 0.0,
            bad_packets: 0,
            state: State::Ended,
        };
        let primed = guarded(|| source.prime());
        primed.unwrap_or_else(|what| Err(SourceError::NotAudio { what }))?;
        Ok(source)
    }

    /// Leaves out what an MP4's edit list, or iTunes's tag, leaves out.
    fn apply(&mut self, edits: &[Edit]) {
        let of_track = |edit: &&Edit| edit.track_id == Some(self.chosen.track_id);
        let edit = self.edit.as_ref().or(edits.iter().find(of_track));
        let (Some(edit), rate @ 1..) = (edit, self.playing.rate()) else {
            return;
        };
        let edit = edit.at_rate(rate);
        // Opus skips its run-up by itself.
        let skip = edit.skip.saturating_sub(self.chosen.hidden);
        let keep = edit.keep.unwrap_or(u64::MAX);
        let length = &mut self.chosen.length;
        // A damaged list would leave out everything.
        if length.known.is_none_or(|samples| skip < samples) {
            self.window = Window { skip, keep };
            length.known = length.known.map(|samples| (samples - skip).min(keep));
        }
    }

    /// Plays `other`, the same file opened differently; tags and length stay what they were.
    fn replace_stream(&mut self, other: Source) {
        let tags = std::mem::take(&mut self.tags);
        let length = self.chosen.length;
        *self = other;
        self.tags = tags;
        self.chosen.length = length;
    }

    /// Looks at the first packets of an AAC track, and keeps what the reader answered, errors included, for when it is due.
    ///
    /// # Errors
    /// `Codec`, for HE-AAC that only its frames give away.
    fn refuse_he_aac(&mut self) -> Result<(), SourceError> {
        let mut first = FirstFrames::default();
        while self.chosen.decoder.is_aac() {
            let next = guarded(|| self.format.next_packet());
            let more = match &next {
                Ok(Ok(Some(packet))) if packet.track_id != self.chosen.track_id => continue,
                Ok(Ok(Some(packet))) => first.look(&packet.data),
                _ => false,
            };
            self.ahead.push_back(next);
            if !more {
                break;
            }
        }
        match first.are_he_aac() {
            true => Err(SourceError::Codec("HE-AAC".to_owned())),
            false => Ok(()),
        }
    }

    /// Decodes the first packet; a file in which there are packets and not a good one among them is not audio. A file
    /// with a header and no sound is left to `read`.
    fn prime(&mut self) -> Result<(), SourceError> {
        self.refuse_he_aac()?;
        self.state = match self.step() {
            Ok(Step::Decoded) => {
                self.adapt(&mut Vec::new())?;
                State::Primed
            }
            Ok(Step::End) if self.bad_packets > 0 => {
                return Err(SourceError::NotAudio {
                    what: "no part of it can be decoded".to_owned(),
                });
            }
            Ok(Step::End) => self.truncation().map_or(State::Ended, State::Failed),
            Err(SourceError::Broken { cause, .. }) => {
                return Err(SourceError::NotAudio { what: cause });
            }
            Err(error) => return Err(error),
        };
        Ok(())
    }

    /// Does `work`; if it panics, the source ends there.
    fn guard(&mut self, out: &mut Vec<f32>, work: fn(&mut Source, &mut Vec<f32>)) {
        if let Err(cause) = guarded(|| work(self, out)) {
            self.state = State::Failed(self.broken(cause));
        }
    }

    /// Decodes and delivers the next packet, or the tail.
    fn run(&mut self, out: &mut Vec<f32>) {
        let stepped = self.step().and_then(|step| match step {
            Step::Decoded if self.spec != self.playing => self.adapt(out).map(|()| step),
            step => Ok(step),
        });
        self.state = match stepped {
            Ok(Step::Decoded) => {
                self.deliver(out);
                State::Running
            }
            Ok(Step::End) => {
                self.flush(out);
                self.truncation().map_or(State::Ended, State::Failed)
            }
            Err(error) => {
                self.flush(out);
                State::Failed(match error {
                    broken @ SourceError::Broken { .. } => broken,
                    other => self.broken(other.to_string()),
                })
            }
        };
    }

    /// Decodes packets until one gives samples.
    fn step(&mut self) -> Result<Step, SourceError> {
        loop {
            let ahead = self.ahead.pop_front();
            let next = ahead.unwrap_or_else(|| guarded(|| self.format.next_packet()));
            let packet = match next.map_err(|cause| self.broken(cause))? {
                Ok(Some(packet)) => packet,
                Ok(None) => return Ok(Step::End),
                Err(SymphoniaError::IoError(error)) if error.kind() == ErrorKind::UnexpectedEof => {
                    return Ok(Step::End);
                }
                Err(SymphoniaError::ResetRequired) => {
                    self.choose_again()?;
                    continue;
                }
                Err(error) => return Err(self.broken(error.to_string())),
            };
            if packet.track_id != self.chosen.track_id {
                continue;
            }
            let decoder = &mut self.chosen.decoder;
            let (planes, spec) = (&mut self.planes, &mut self.spec);
            let decoded = guarded(|| decoder.decode(&packet, planes, spec));
            match decoded.and_then(|outcome| outcome) {
                Ok(()) => {
                    self.bad_packets = 0;
                    if let Some(base) = self.chosen.run_up.take() {
                        let skip = samples_before_zero(packet.pts, base, self.spec.rate());
                        self.window.skip = skip;
                    }
                    if self.chosen.cut_to_duration && !packet.dur.is_zero() {
                        let heard = usize::try_from(packet.dur.get()).unwrap_or(usize::MAX);
                        self.planes.iter_mut().for_each(|p| p.truncate(heard));
                    }
                    if self.planes.first().is_some_and(|plane| !plane.is_empty()) {
                        return Ok(Step::Decoded);
                    }
                }
                Err(cause) => {
                    self.bad_packets += 1;
                    self.skipped_seconds += self.seconds_of(packet.dur);
                    if self.bad_packets >= MAX_BAD_PACKETS {
                        return Err(self.broken(cause));
                    }
                }
            }
        }
    }

    /// How long a packet of this duration sounds; if its container does not say (Matroska may not), as long as the last one.
    fn seconds_of(&self, duration: Duration) -> f64 {
        let samples = |count: u64| count as f64 / f64::from(self.spec.rate().max(1));
        if duration.is_zero() {
            return samples(self.planes.first().map_or(0, |plane| plane.len() as u64));
        }
        match self.chosen.time_base {
            Some(base) => base.calc_duration_saturating(duration).as_secs_f64(),
            None => samples(duration.get()),
        }
    }

    /// Another stream begins in the same file (a chained Ogg): its tracks are new, its length is nobody's promise.
    fn choose_again(&mut self) -> Result<(), SourceError> {
        let length = self.chosen.length;
        self.chosen = choose(self.format.as_ref(), None)?;
        self.chosen.length = length;
        self.chosen.length.exact = false;
        Ok(())
    }

    /// Makes ready for another rate or other channels than before.
    fn adapt(&mut self, out: &mut Vec<f32>) -> Result<(), SourceError> {
        let rate = self.spec.rate();
        check_rate(rate)?;
        self.downmix = Some(Downmix::new(self.spec.channels())?);
        if rate != self.playing.rate() {
            self.flush(out);
            if rate != SAMPLE_RATE {
                let made = Resampler::new(rate).map_err(|cause| self.broken(cause))?;
                self.resampler = Some(made);
            }
        }
        self.playing.clone_from(&self.spec);
        Ok(())
    }

    /// Mixes and converts what is in `planes`.
    fn deliver(&mut self, out: &mut Vec<f32>) {
        let Some(downmix) = &self.downmix else {
            return;
        };
        let stereo: [&[f32]; 2] = match self.planes.as_slice() {
            [left, right] if downmix.is_identity() => [left, right],
            planes => {
                downmix.mix(planes, &mut self.stereo);
                [&self.stereo[0], &self.stereo[1]]
            }
        };
        let heard = self.window.cut(stereo[0].len());
        let stereo = stereo.map(|side| &side[heard.clone()]);
        self.delivered_seconds += stereo[0].len() as f64 / f64::from(self.playing.rate());
        match &mut self.resampler {
            Some(resampler) => resampler.push(stereo, out),
            None => interleave(stereo[0], stereo[1], out),
        }
    }

    fn flush(&mut self, out: &mut Vec<f32>) {
        if let Some(mut resampler) = self.resampler.take() {
            resampler.finish(out);
        }
    }

    /// The error for a source that ended now, if it promised more than it gave.
    fn truncation(&self) -> Option<SourceError> {
        let length = self.chosen.length;
        let samples = length.known.filter(|_| length.exact)?;
        // A file that was cut off before its first packet has no rate but the container's.
        let rate = match self.playing.rate() {
            0 => self.chosen.nominal_rate?,
            rate => rate,
        };
        let promised_seconds = samples as f64 / f64::from(rate);
        let slack = length.slack as f64 / f64::from(rate);
        let accounted = self.delivered_seconds + self.skipped_seconds + slack;
        (promised_seconds > accounted + TRUNCATION_SLACK_SECONDS).then_some(
            SourceError::Truncated {
                at_seconds: self.delivered_seconds,
                promised_seconds,
            },
        )
    }

    fn broken(&self, cause: String) -> SourceError {
        SourceError::Broken {
            at_seconds: self.delivered_seconds,
            cause,
        }
    }
}

fn rewound(mut file: File) -> Result<File, SourceError> {
    let start = file.seek(SeekFrom::Start(0));
    start.map(|_| file).map_err(SourceError::Unreadable)
}

fn unopened(error: io::Error) -> SourceError {
    match error.kind() {
        ErrorKind::NotFound => SourceError::Missing,
        _ => SourceError::Unreadable(error),
    }
}

/// # Errors
/// `NotAudio`, for what is known by its first bytes.
fn refuse_unplayable(head: &[u8]) -> Result<(), SourceError> {
    match describe(head).map(str::to_owned) {
        Some(what) => Err(SourceError::NotAudio { what }),
        None => Ok(()),
    }
}

fn read_head(reader: &mut dyn Read, limit: usize) -> Result<Vec<u8>, SourceError> {
    let mut head = Vec::with_capacity(limit);
    let read = reader.take(limit as u64).read_to_end(&mut head);
    match read.map_err(SourceError::Unreadable)? {
        0 => Err(SourceError::Empty),
        _ => Ok(head),
    }
}

#[cfg(test)]
#[path = "source_tests.rs"]
pub(super) mod tests;
