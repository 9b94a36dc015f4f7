//! How does sound leave by stdout? As s16le blocks, each written at once: a pipe to a player must not wait for a buffer of
//! ours, and its end must be seen with the block that meets it.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, PollTimeout};

use super::{BLOCK_SAMPLES, Written};

/// Stdout as an output for 48 kHz, 16-bit little-endian, stereo samples.
#[derive(Debug)]
pub struct PcmStdout {
    out: File,
    bytes: Vec<u8>,
}

/// A block could not be written, and not because the reader left.
#[derive(Debug, thiserror::Error)]
#[error("writing sound to stdout: {0}")]
pub struct PcmError(#[source] io::Error);

impl PcmStdout {
    /// Stdout, past the standard library's line buffer.
    pub fn open() -> Result<PcmStdout, PcmError> {
        let out = io::stdout()
            .as_fd()
            .try_clone_to_owned()
            .map_err(PcmError)?;
        Ok(PcmStdout::to(out.into()))
    }

    fn to(out: File) -> PcmStdout {
        PcmStdout {
            out,
            bytes: Vec::with_capacity(BLOCK_SAMPLES * 2),
        }
    }

    /// Whether it is a file, which takes its time, and not a pipe, which is read in real time.
    pub fn is_file(&self) -> bool {
        self.out.metadata().is_ok_and(|metadata| metadata.is_file())
    }

    /// Writes one block; waits while a pipe is full. [`Written::Closed`] when nobody reads any more.
    pub fn write_block(&mut self, block: &[i16; BLOCK_SAMPLES]) -> Result<Written, PcmError> {
        self.bytes.clear();
        self.bytes
            .extend(block.iter().flat_map(|sample| sample.to_le_bytes()));
        let mut rest = &self.bytes[..];
        while !rest.is_empty() {
            match self.out.write(rest) {
                Ok(count) => rest = &rest[count..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(Written::Closed),
                // Somebody who shares this pipe has made it non-blocking.
                Err(error) if error.kind() == ErrorKind::WouldBlock => wait_writable(&self.out),
                Err(error) => return Err(PcmError(error)),
            }
        }
        Ok(Written::Done)
    }
}

fn wait_writable(out: &File) {
    let _ = nix::poll::poll(
        &mut [PollFd::new(out.as_fd(), PollFlags::POLLOUT)],
        PollTimeout::NONE,
    );
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::OwnedFd;

    use super::*;

    #[test]
    fn block_is_little_endian_and_complete() {
        let (mut reader, writer) = io::pipe().unwrap();
        let mut block = [0; BLOCK_SAMPLES];
        block[0] = 0x1234;
        block[BLOCK_SAMPLES - 1] = -2;
        let mut out = PcmStdout::to(OwnedFd::from(writer).into());
        assert_eq!(out.write_block(&block).unwrap(), Written::Done);
        let mut bytes = [0; BLOCK_SAMPLES * 2];
        reader.read_exact(&mut bytes).unwrap();
        assert_eq!(
            (bytes[..2].to_vec(), bytes[3838..].to_vec()),
            (vec![0x34, 0x12], vec![0xfe, 0xff])
        );
    }

    #[test]
    fn reader_that_left_is_closed_and_no_error() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let mut out = PcmStdout::to(OwnedFd::from(writer).into());
        assert_eq!(
            out.write_block(&[0; BLOCK_SAMPLES]).unwrap(),
            Written::Closed
        );
    }

    #[test]
    fn full_device_is_an_error() {
        let Ok(full) = File::options().write(true).open("/dev/full") else {
            return;
        };
        let error = PcmStdout::to(full)
            .write_block(&[0; BLOCK_SAMPLES])
            .unwrap_err();
        assert!(
            error.to_string().starts_with("writing sound to stdout: "),
            "{error}"
        );
    }
}
