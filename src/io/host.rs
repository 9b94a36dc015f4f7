//! What is this machine called? The default of `--name`.

use super::terminal::sanitize;
use crate::wire::clip;

pub use crate::wire::control::MAX_NAME_BYTES;

/// The host name, fit to be a node's name; `unnamed` if the machine has none.
pub fn name() -> String {
    let raw = nix::unistd::gethostname().unwrap_or_default();
    let name = node_name(&raw.to_string_lossy());
    if name.is_empty() {
        "unnamed".to_owned()
    } else {
        name
    }
}

/// `text` without control characters and outer blanks, cut to [`MAX_NAME_BYTES`] at a character.
pub fn node_name(text: &str) -> String {
    let clean = sanitize(text);
    let clean = clean.trim();
    clip(clean, MAX_NAME_BYTES).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_has_a_name_within_the_limit() {
        let name = name();
        assert!(!name.is_empty() && name.len() <= MAX_NAME_BYTES, "{name:?}");
    }

    #[test]
    fn long_name_is_cut_at_a_character() {
        assert_eq!(node_name(&"a".repeat(70)), "a".repeat(64));
        assert_eq!(node_name(&"ü".repeat(40)), "ü".repeat(32));
        assert_eq!(
            node_name(&format!("x{}", "ü".repeat(40))),
            format!("x{}", "ü".repeat(31))
        );
        assert_eq!(node_name("  kitchen\x1b[31m\n"), "kitchen");
    }
}
