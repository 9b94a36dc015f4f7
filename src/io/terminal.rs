//! What can be shown on this terminal? Width, lines cut to it, and foreign text made harmless.
//!
//! Titles come from files and names from the network: an escape sequence in them could retitle a window, move the cursor
//! over our own lines, or (bidi overrides) make them read backwards.

use std::io::IsTerminal;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// True if stderr, where status goes, is a terminal.
pub fn stderr_is_terminal() -> bool {
    std::io::stderr().is_terminal()
}

/// True if stdin is a terminal, from which no audio can come.
pub fn stdin_is_terminal() -> bool {
    std::io::stdin().is_terminal()
}

/// Columns of the terminal on stderr; `None` if it is none or does not say.
pub fn stderr_columns() -> Option<usize> {
    let (width, _) = terminal_size::terminal_size_of(std::io::stderr())?;
    Some(usize::from(width.0)).filter(|&columns| columns > 0)
}

/// `line`, or as much of it as fits `columns` with a `…` at the end. For plain text: cut first, colour afterwards.
pub fn cut(line: &str, columns: usize) -> String {
    if line.width() <= columns {
        return line.to_owned();
    }
    let mut out = String::new();
    let mut used = 0;
    for character in line.chars() {
        used += character.width().unwrap_or(0);
        // One column is for the ellipsis.
        if used + 1 > columns {
            break;
        }
        out.push(character);
    }
    if columns > 0 {
        out.push('…');
    }
    out
}

/// `text` as it may be shown: whole escape sequences and control characters gone, line breaks and tabs as blanks, no
/// character that turns the direction of writing or hides text.
pub fn sanitize(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        let sequence = escape_sequence(rest);
        if sequence > 0 {
            rest = &rest[sequence..];
            continue;
        }
        match character {
            '\t' | '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}' => {
                out.push(' ')
            }
            _ if character.is_control() || is_deceptive(character) => {}
            _ => out.push(character),
        }
        rest = &rest[character.len_utf8()..];
    }
    out
}

/// Length in bytes of the escape sequence (ECMA-48) that `text` starts with; 0 if it starts with none.
fn escape_sequence(text: &str) -> usize {
    let mut characters = text.chars();
    let (kind, intro) = match characters.next() {
        Some('\u{1b}') => match characters.next() {
            Some(kind @ ('[' | ']' | 'P' | 'X' | '^' | '_')) => (kind, 2),
            Some(' '..='/') => return charset_sequence(text),
            Some(kind @ '0'..='~') => return 1 + kind.len_utf8(),
            _ => return 1,
        },
        // The 8-bit forms, two bytes each in UTF-8.
        Some('\u{9b}') => ('[', 2),
        Some('\u{9d}') => (']', 2),
        Some('\u{90}' | '\u{98}' | '\u{9e}' | '\u{9f}') => ('P', 2),
        _ => return 0,
    };
    if kind == '[' {
        control_sequence(text, intro)
    } else {
        control_string(text, intro)
    }
}

/// `ESC`, intermediates, one final character: chooses a character set and the like.
fn charset_sequence(text: &str) -> usize {
    let end = text
        .char_indices()
        .skip(1)
        .find(|(_, c)| !(' '..='/').contains(c));
    end.map_or(text.len(), |(at, c)| {
        if ('0'..='~').contains(&c) { at + 1 } else { at }
    })
}

/// Parameters and intermediates up to a final character; a character that cannot be part of it ends it.
fn control_sequence(text: &str, intro: usize) -> usize {
    let end = text[intro..]
        .char_indices()
        .find(|(_, c)| !(' '..='?').contains(c));
    match end {
        Some((at, '@'..='~')) => intro + at + 1,
        Some((at, _)) => intro + at,
        None => text.len(),
    }
}

/// A string up to BEL or ST. One without an end loses its introducer only: the rest is then plain text.
fn control_string(text: &str, intro: usize) -> usize {
    let ends = ["\u{7}", "\u{1b}\\", "\u{9c}"];
    let end = ends
        .iter()
        .filter_map(|end| text[intro..].find(end).map(|at| intro + at + end.len()))
        .min();
    end.unwrap_or(intro)
}

/// Changes the direction of what follows, or is invisible and serves to smuggle.
fn is_deceptive(character: char) -> bool {
    matches!(character,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{206f}'   // bidi
        | '\u{200b}' | '\u{2060}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}') // invisible
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_is_made_harmless() {
        let cases = [
            ("plain Ünïcode 音楽 🎵", "plain Ünïcode 音楽 🎵"),
            ("a\tb\r\nc\u{85}d\u{2028}e", "a b  c d e"),
            ("a\0b\u{7}c\u{8}d\u{7f}e", "abcde"),
            ("\u{1b}[31;1mred\u{1b}[0m", "red"),
            ("\u{1b}]0;evil title\u{7}song", "song"),
            ("\u{1b}]8;;http://x\u{1b}\\link\u{1b}]8;;\u{1b}\\", "link"),
            ("\u{1b}Pq#0\u{1b}\\x", "x"),
            ("\u{9b}31mred", "red"),
            ("\u{9d}0;t\u{9c}x", "x"),
            ("\u{1b}(Bx\u{1b}c", "x"),
            ("\u{1b}]never ends", "never ends"),
            ("\u{1b}[31", ""),
            ("\u{1b}[3ü", "ü"),
            ("\u{1b}", ""),
            ("\u{1b}\u{1b}[0mx", "x"),
            ("abc\u{202e}gpj.exe\u{202c}", "abcgpj.exe"),
            ("a\u{2066}b\u{2069}c\u{feff}d\u{e0041}", "abcd"),
        ];
        for (text, shown) in cases {
            assert_eq!(sanitize(text), shown, "{text:?}");
        }
    }

    #[test]
    fn sanitized_text_stays_as_it_is() {
        for text in [
            "\u{1b}\u{1b}]]x\u{7}",
            "\u{1b}[\u{1b}[31mx",
            "\u{1b} \u{1b}[m",
            "\u{9b}\u{9b}m",
        ] {
            let once = sanitize(text);
            assert_eq!(sanitize(&once), once, "{text:?}");
            assert!(!once.chars().any(char::is_control), "{text:?}");
        }
    }

    #[test]
    fn cut_line_never_exceeds_the_columns() {
        for line in [
            "short",
            "a line that is too long",
            "音楽音楽音楽音楽",
            "e\u{301}e\u{301}e\u{301}e\u{301}",
            "👨‍👩‍👧👨‍👩‍👧",
        ] {
            for columns in 0..20 {
                let shown = cut(line, columns);
                assert!(shown.width() <= columns, "{shown:?} on {columns} columns");
                assert_eq!(
                    shown == line,
                    line.width() <= columns,
                    "{line:?} on {columns} columns"
                );
            }
        }
        assert_eq!(cut("abcdef", 4), "abc…");
        assert_eq!(cut("音楽音楽", 4), "音…");
    }
}
