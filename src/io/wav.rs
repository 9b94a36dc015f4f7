//! How does sound become a WAV file that is valid at any moment? Data first, then both sizes in one write: after SIGKILL
//! between the two, the header merely does not know of the last 20 ms. (The usual crates finalise the header on drop,
//! which SIGKILL skips.)
//!
//! Format: RIFF/WAVE, PCM, 48 kHz, 16 bit, stereo, 44 bytes of header. Sizes are 32 bits, so at 4 GiB (6.2 hours) it goes
//! on in `NAME-2.wav`.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use super::BLOCK_SAMPLES;

/// Size of the header in bytes.
pub const HEADER_BYTES: u64 = 44;
/// Size of one block in bytes.
pub const BLOCK_BYTES: u64 = BLOCK_SAMPLES as u64 * 2;
/// The size that the RIFF header can say: it counts all but its first 8 bytes in 32 bits.
pub const MAX_FILE_BYTES: u64 = u32::MAX as u64 + 8;

const SAMPLE_RATE: u32 = 48_000;
const CHANNELS: u16 = 2;
const SAMPLE_BITS: u16 = 16;

/// A WAV file that grows by blocks.
pub struct WavFile {
    first_path: PathBuf,
    path: PathBuf,
    part: u32,
    max_file_bytes: u64,
    opener: Opener,
    store: Box<dyn Store>,
    data_bytes: u64,
    failed: bool,
    bytes: Vec<u8>,
}

/// Why a WAV file cannot be made or continued.
#[derive(Debug, thiserror::Error)]
pub enum WavError {
    /// The folder is not there.
    #[error("creating {path}: the folder {folder} does not exist (create it first)")]
    NoFolder {
        /// The file.
        path: PathBuf,
        /// Its folder.
        folder: PathBuf,
    },
    /// A folder, FIFO or device has this name; its header could not be kept valid.
    #[error("creating {path}: {what} has this name (choose another; for a pipe, use --output - )")]
    NotAFile {
        /// The file.
        path: PathBuf,
        /// What is there.
        what: &'static str,
    },
    /// The system refused it.
    #[error("creating {path}: {source}")]
    Create {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A block could not be written. The file is valid up to the block before.
    #[error("writing {path}: {source}; the file ends after {seconds:.2} s")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
        /// What it holds, in seconds.
        seconds: f64,
    },
}

/// What is needed of a file, so that a test can make it fail.
trait Store: Send {
    fn write_all_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()>;
    fn truncate(&mut self, length: u64) -> io::Result<()>;
}

type Opener = fn(&Path) -> Result<Box<dyn Store>, WavError>;

impl Store for File {
    fn write_all_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        FileExt::write_all_at(self, bytes, offset)
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }
}

impl WavFile {
    /// Creates `path`, overwriting a file of that name, with a header that says "empty". The next part begins at
    /// `max_file_bytes`, the header included: [`MAX_FILE_BYTES`] at most.
    ///
    /// # Errors
    /// If its folder is missing, if it is no regular file, or if the system refuses it.
    pub fn create(path: &Path, max_file_bytes: u64) -> Result<WavFile, WavError> {
        WavFile::create_in(path, max_file_bytes, open_file)
    }

    fn create_in(path: &Path, max_file_bytes: u64, opener: Opener) -> Result<WavFile, WavError> {
        let store = begin(path, opener)?;
        Ok(WavFile {
            first_path: path.to_owned(),
            path: path.to_owned(),
            part: 1,
            // A part holds one block at least, whatever the limit.
            max_file_bytes: max_file_bytes.clamp(HEADER_BYTES + BLOCK_BYTES, MAX_FILE_BYTES),
            opener,
            store,
            data_bytes: 0,
            failed: false,
            bytes: Vec::with_capacity(BLOCK_BYTES as usize),
        })
    }

    /// The file that is being written.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// True after an error: nothing is written any more.
    pub fn has_failed(&self) -> bool {
        self.failed
    }

    /// Appends one block. The first failure is returned and leaves the file valid to the last whole block; after it, blocks
    /// are dropped and `Ok` is returned, as playing goes on.
    pub fn write_block(&mut self, block: &[i16; BLOCK_SAMPLES]) -> Result<(), WavError> {
        if self.failed {
            return Ok(());
        }
        let result = self.roll_over_if_full().and_then(|()| self.append(block));
        self.failed = result.is_err();
        result
    }

    fn roll_over_if_full(&mut self) -> Result<(), WavError> {
        if HEADER_BYTES + self.data_bytes + BLOCK_BYTES <= self.max_file_bytes {
            return Ok(());
        }
        let path = part_path(&self.first_path, self.part + 1);
        self.store = begin(&path, self.opener)?;
        self.path = path;
        self.part += 1;
        self.data_bytes = 0;
        Ok(())
    }

    fn append(&mut self, block: &[i16; BLOCK_SAMPLES]) -> Result<(), WavError> {
        self.bytes.clear();
        self.bytes
            .extend(block.iter().flat_map(|sample| sample.to_le_bytes()));
        let end = HEADER_BYTES + self.data_bytes;
        let written = self.store.write_all_at(&self.bytes, end).and_then(|()| {
            self.store
                .write_all_at(&header(self.data_bytes + BLOCK_BYTES), 0)
        });
        if let Err(source) = written {
            // If these fail too, the file has a tail that its header does not mention: still valid.
            let _ = self.store.write_all_at(&header(self.data_bytes), 0);
            let _ = self.store.truncate(end);
            return Err(WavError::Write {
                path: self.path.clone(),
                source,
                seconds: self.seconds(),
            });
        }
        self.data_bytes += BLOCK_BYTES;
        Ok(())
    }

    fn seconds(&self) -> f64 {
        self.data_bytes as f64 / f64::from(SAMPLE_RATE * u32::from(CHANNELS * SAMPLE_BITS / 8))
    }
}

/// Opens `path` and gives it an empty header.
fn begin(path: &Path, opener: Opener) -> Result<Box<dyn Store>, WavError> {
    let mut store = opener(path)?;
    store
        .write_all_at(&header(0), 0)
        .map_err(|source| WavError::Create {
            path: path.to_owned(),
            source,
        })?;
    Ok(store)
}

/// Whether a WAV file can be made at `path`, as far as can be known without touching it.
///
/// # Errors
/// If its folder is missing, or if there is something else than a regular file.
pub fn check(path: &Path) -> Result<(), WavError> {
    if let Ok(metadata) = std::fs::metadata(path) {
        refuse_special(path, &metadata)
    } else if let Some(folder) = missing_folder(path) {
        Err(WavError::NoFolder {
            path: path.to_owned(),
            folder,
        })
    } else {
        Ok(())
    }
}

/// A regular file of length 0, new or not. Nothing is truncated before it is known to be one.
fn open_file(path: &Path) -> Result<Box<dyn Store>, WavError> {
    let create = |source| WavError::Create {
        path: path.to_owned(),
        source,
    };
    check(path)?;
    // Non-blocking: a FIFO that took the name since must not hang us.
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .custom_flags(flags.bits())
        .open(path)
        .map_err(create)?;
    refuse_special(path, &file.metadata().map_err(create)?)?;
    file.set_len(0).map_err(create)?;
    Ok(Box::new(file))
}

fn refuse_special(path: &Path, metadata: &std::fs::Metadata) -> Result<(), WavError> {
    if metadata.is_file() {
        return Ok(());
    }
    let what = if metadata.is_dir() {
        "a folder"
    } else {
        "a FIFO or device"
    };
    Err(WavError::NotAFile {
        path: path.to_owned(),
        what,
    })
}

fn missing_folder(path: &Path) -> Option<PathBuf> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())?;
    (!folder.is_dir()).then(|| folder.to_owned())
}

/// `a.wav` → `a-2.wav`.
fn part_path(first: &Path, part: u32) -> PathBuf {
    let mut name = first.file_stem().unwrap_or_default().to_owned();
    name.push(format!("-{part}"));
    if let Some(extension) = first.extension() {
        name.push(".");
        name.push(extension);
    }
    first.with_file_name(name)
}

fn header(data_bytes: u64) -> [u8; HEADER_BYTES as usize] {
    let data_bytes = data_bytes as u32; // limited by MAX_FILE_BYTES
    let frame_bytes = CHANNELS * SAMPLE_BITS / 8;
    let mut header = [0; HEADER_BYTES as usize];
    let fields: [&[u8]; 13] = [
        b"RIFF",
        &(data_bytes + HEADER_BYTES as u32 - 8).to_le_bytes(),
        b"WAVE",
        b"fmt ",
        &16_u32.to_le_bytes(),
        &1_u16.to_le_bytes(), // PCM
        &CHANNELS.to_le_bytes(),
        &SAMPLE_RATE.to_le_bytes(),
        &(SAMPLE_RATE * u32::from(frame_bytes)).to_le_bytes(),
        &frame_bytes.to_le_bytes(),
        &SAMPLE_BITS.to_le_bytes(),
        b"data",
        &data_bytes.to_le_bytes(),
    ];
    let mut at = 0;
    for field in fields {
        header[at..at + field.len()].copy_from_slice(field);
        at += field.len();
    }
    header
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// A folder of its own for one test, removed afterwards.
    pub(in crate::io) struct Folder(PathBuf);

    impl Folder {
        pub(in crate::io) fn new() -> Folder {
            let name = format!("lanradio-test-{:016x}", crate::io::random::seed().unwrap());
            let folder = std::env::temp_dir().join(name);
            std::fs::create_dir(&folder).unwrap();
            Folder(folder)
        }

        pub(in crate::io) fn path(&self, name: &str) -> PathBuf {
            self.0.join(name)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn block(value: i16) -> [i16; BLOCK_SAMPLES] {
        std::array::from_fn(|i| value.wrapping_add(i as i16))
    }

    /// Checks the whole header against the file and returns the samples.
    fn samples(path: &Path) -> Vec<i16> {
        let bytes = std::fs::read(path).unwrap();
        let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        let u16_at = |at: usize| u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap());
        assert_eq!(
            (&bytes[..4], &bytes[8..16], &bytes[36..40]),
            (&b"RIFF"[..], &b"WAVEfmt "[..], &b"data"[..])
        );
        assert_eq!(u32_at(4) as usize, bytes.len() - 8);
        assert_eq!(u32_at(40) as usize, bytes.len() - 44);
        assert_eq!(
            (u32_at(16), u16_at(20), u16_at(22), u32_at(24)),
            (16, 1, 2, 48_000)
        );
        assert_eq!((u32_at(28), u16_at(32), u16_at(34)), (192_000, 4, 16));
        bytes[44..]
            .chunks_exact(2)
            .map(|pair| i16::from_le_bytes([pair[0], pair[1]]))
            .collect()
    }

    #[test]
    fn file_is_valid_after_every_write() {
        let folder = Folder::new();
        let path = folder.path("a.wav");
        let mut wav = WavFile::create(&path, MAX_FILE_BYTES).unwrap();
        let mut expected = Vec::new();
        assert_eq!(samples(&path), expected);
        for value in [1, -2, i16::MAX, i16::MIN] {
            wav.write_block(&block(value)).unwrap();
            expected.extend(block(value));
            assert_eq!(samples(&path), expected);
        }
    }

    #[test]
    fn longer_file_of_that_name_is_overwritten() {
        let folder = Folder::new();
        let path = folder.path("a.wav");
        std::fs::write(&path, vec![7; 100_000]).unwrap();
        let _wav = WavFile::create(&path, MAX_FILE_BYTES).unwrap();
        assert!(samples(&path).is_empty());
    }

    #[test]
    fn full_part_goes_on_in_the_next() {
        let folder = Folder::new();
        let path = folder.path("a.wav");
        let mut wav = WavFile::create(&path, HEADER_BYTES + 2 * BLOCK_BYTES + 1).unwrap();
        (0..5).for_each(|value| wav.write_block(&block(value)).unwrap());
        assert_eq!(samples(&path), [block(0), block(1)].concat());
        assert_eq!(
            samples(&folder.path("a-2.wav")),
            [block(2), block(3)].concat()
        );
        assert_eq!(samples(&folder.path("a-3.wav")), block(4));
        assert_eq!(wav.path(), folder.path("a-3.wav"));
    }

    #[test]
    fn largest_file_fits_its_header() {
        let blocks = (MAX_FILE_BYTES - HEADER_BYTES) / BLOCK_BYTES;
        let header = header(blocks * BLOCK_BYTES);
        let riff = u32::from_le_bytes(header[4..8].try_into().unwrap());
        assert_eq!(u64::from(riff) + 8, HEADER_BYTES + blocks * BLOCK_BYTES);
    }

    #[test]
    fn part_number_stands_before_the_extension() {
        for (first, second) in [
            ("a.wav", "a-2.wav"),
            ("d.x/a", "d.x/a-2"),
            ("/d/a.b.wav", "/d/a.b-2.wav"),
        ] {
            assert_eq!(part_path(Path::new(first), 2), Path::new(second));
        }
    }

    #[test]
    fn missing_folder_and_special_files_are_refused() {
        let folder = Folder::new();
        let error = |path: &Path| {
            WavFile::create(path, MAX_FILE_BYTES)
                .err()
                .unwrap()
                .to_string()
        };
        assert!(error(&folder.path("no/a.wav")).contains("does not exist"));
        assert!(error(&folder.path("")).contains("a folder has this name"));
        assert!(error(Path::new("/dev/null")).contains("a FIFO or device"));
        let fifo = folder.path("fifo.wav");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(error(&fifo).contains("a FIFO or device"));
    }

    /// A real file on a disk that has room for `ROOM` bytes.
    struct SmallDisk(File);
    static ROOM: AtomicU64 = AtomicU64::new(0);

    impl Store for SmallDisk {
        fn write_all_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
            let fits = ROOM
                .load(Ordering::SeqCst)
                .saturating_sub(offset)
                .min(bytes.len() as u64);
            FileExt::write_all_at(&self.0, &bytes[..fits as usize], offset)?;
            if fits < bytes.len() as u64 {
                Err(io::ErrorKind::StorageFull.into())
            } else {
                Ok(())
            }
        }

        fn truncate(&mut self, length: u64) -> io::Result<()> {
            self.0.set_len(length)
        }
    }

    #[test]
    fn full_disk_is_one_error_and_leaves_whole_blocks() {
        let folder = Folder::new();
        let path = folder.path("a.wav");
        ROOM.store(HEADER_BYTES + 2 * BLOCK_BYTES + 100, Ordering::SeqCst);
        let opener: Opener = |path| Ok(Box::new(SmallDisk(File::create(path).unwrap())));
        let mut wav = WavFile::create_in(&path, MAX_FILE_BYTES, opener).unwrap();
        wav.write_block(&block(0)).unwrap();
        wav.write_block(&block(1)).unwrap();
        let error = wav.write_block(&block(2)).unwrap_err().to_string();
        assert!(
            error.contains("a.wav") && error.ends_with("the file ends after 0.04 s"),
            "{error}"
        );
        assert_eq!(samples(&path), [block(0), block(1)].concat());
        ROOM.store(u64::MAX, Ordering::SeqCst);
        wav.write_block(&block(3)).unwrap();
        assert!(wav.has_failed());
        assert_eq!(samples(&path), [block(0), block(1)].concat());
    }
}
