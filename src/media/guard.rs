//! What if a decoder panics on a damaged file? Then that file is damaged; the station and its other files play on.
//!
//! symphonia is careful but large, and what it reads comes from anywhere. A panic inside a guarded call becomes an error, and
//! is not printed: its text would tell a listener nothing that the file's own line does not say. Memory stays sound, as
//! symphonia has no unsafe code to speak of; the value that was being worked on may be of no more use.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work`; `Err` says that it panicked.
pub(super) fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let loud = take_hook();
        set_hook(Box::new(move |panic| {
            if !GUARDED.get() {
                loud(panic);
            }
        }));
    });
    let outer = GUARDED.replace(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(outer);
    result.map_err(|_| "the decoder stumbled over it".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panic_is_an_error_and_the_next_call_works() {
        assert_eq!(guarded(|| 7), Ok(7));
        let nothing: Vec<u32> = Vec::new();
        let index = nothing.len();
        assert!(guarded(|| nothing[index]).is_err());
        assert!(!GUARDED.get());
        assert_eq!(guarded(|| guarded(|| 7)), Ok(Ok(7)));
    }
}
