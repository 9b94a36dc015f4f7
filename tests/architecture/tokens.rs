//! What does a source file say, without its comments, strings and test modules? Rust as tokens, and the paths in them: as much of
//! the language as the rules need.

/// A word or one character of punctuation (`::` is one token), and its line.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) line: usize,
}

/// The tokens of `text` without comments; literals of text become `""`.
pub(crate) fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let (mut tokens, mut at, mut line) = (Vec::new(), 0, 1);
    while at < chars.len() {
        let start = at;
        let c = chars[at];
        let next = chars.get(at + 1).copied().unwrap_or('\0');
        let mut word = None;
        if c == '/' && next == '/' {
            at = find(&chars, at, |rest| rest[0] == '\n');
        } else if c == '/' && next == '*' {
            at = skip_block_comment(&chars, at);
        } else if let Some(end) = raw_string(&chars, at) {
            at = end;
            word = Some("\"\"".to_owned());
        } else if c == '"' {
            at = skip_quoted(&chars, at);
            word = Some("\"\"".to_owned());
        } else if c == '\'' {
            // A character, unless it is a lifetime: 'a without a closing quote.
            at = if next == '\\' || chars.get(at + 2) == Some(&'\'') {
                skip_quoted(&chars, at)
            } else {
                at + 1
            };
        } else if c.is_alphanumeric() || c == '_' {
            at = find(&chars, at, |rest| {
                !rest[0].is_alphanumeric() && rest[0] != '_'
            });
            word = Some(chars[start..at].iter().collect());
        } else if c == ':' && next == ':' {
            at += 2;
            word = Some("::".to_owned());
        } else {
            at += 1;
            word = (!c.is_whitespace()).then(|| c.to_string());
        }
        if let Some(text) = word {
            tokens.push(Token { text, line });
        }
        line += chars[start..at].iter().filter(|c| **c == '\n').count();
    }
    tokens
}

/// The first place from `at` where `stop` holds, or the end.
pub(crate) fn find(chars: &[char], mut at: usize, stop: impl Fn(&[char]) -> bool) -> usize {
    while at < chars.len() && !stop(&chars[at..]) {
        at += 1;
    }
    at
}

pub(crate) fn skip_block_comment(chars: &[char], mut at: usize) -> usize {
    let mut depth = 0;
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
            ('*', Some('/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// The end of the quoted text that starts at `at`.
pub(crate) fn skip_quoted(chars: &[char], at: usize) -> usize {
    let quote = chars[at];
    let mut end = at + 1;
    while end < chars.len() && chars[end] != quote {
        end += if chars[end] == '\\' { 2 } else { 1 };
    }
    (end + 1).min(chars.len())
}

/// The end of a raw string (`r"…"`, `r#"…"#`, with `b` or `c` before) that starts at `at`.
pub(crate) fn raw_string(chars: &[char], at: usize) -> Option<usize> {
    let before = at.checked_sub(1).map(|at| chars[at]);
    if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
        return None;
    }
    let r = match chars[at] {
        'b' | 'c' => at + 1,
        _ => at,
    };
    if chars.get(r) != Some(&'r') {
        return None;
    }
    let hashes = chars[r + 1..].iter().take_while(|c| **c == '#').count();
    if chars.get(r + 1 + hashes) != Some(&'"') {
        return None;
    }
    let end = find(chars, r + 2 + hashes, |rest| {
        rest[0] == '"' && rest[1..].len() >= hashes && rest[1..=hashes].iter().all(|c| *c == '#')
    });
    Some((end + 1 + hashes).min(chars.len()))
}

/// The tokens without items under `#[cfg(test)]`.
pub(crate) fn without_tests(tokens: Vec<Token>) -> Vec<Token> {
    let attribute = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let here = tokens[at..].iter().map(|token| token.text.as_str());
        if !here.take(attribute.len()).eq(attribute) {
            kept.push(tokens[at].clone());
            at += 1;
            continue;
        }
        // The item ends with its first `;` outside of brackets, or with the bracket that closes its body.
        let mut depth = 0;
        at += attribute.len();
        while at < tokens.len() {
            match tokens[at].text.as_str() {
                "{" | "(" | "[" => depth += 1,
                "}" | ")" | "]" => depth -= 1,
                _ => {}
            }
            let text = &tokens[at].text;
            at += 1;
            if depth == 0 && (text == ";" || text == "}") {
                break;
            }
        }
    }
    kept
}

/// All paths of the file, test modules aside: those in `use` trees with their groups resolved, and those in the code.
pub(crate) fn paths(text: &str) -> Vec<(String, usize)> {
    let tokens = without_tests(tokens(text));
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if tokens[at].text == "use" {
            at = use_tree(&tokens, at + 1, "", &mut found);
        } else if is_word(&tokens[at]) {
            let line = tokens[at].line;
            let mut path = tokens[at].text.clone();
            at += 1;
            while at + 1 < tokens.len() && tokens[at].text == "::" && is_word(&tokens[at + 1]) {
                path = format!("{path}::{}", tokens[at + 1].text);
                at += 2;
            }
            found.push((path, line));
        } else {
            at += 1;
        }
    }
    found
}

pub(crate) fn is_word(token: &Token) -> bool {
    token
        .text
        .starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Reads one tree of a `use` from `at`, with the path `prefix` before it; the place after it.
pub(crate) fn use_tree(
    tokens: &[Token],
    mut at: usize,
    prefix: &str,
    found: &mut Vec<(String, usize)>,
) -> usize {
    let mut path = prefix.to_owned();
    while at < tokens.len() {
        let line = tokens[at].line;
        match tokens[at].text.as_str() {
            "::" => at += 1,
            "{" => {
                at += 1;
                while at < tokens.len() && tokens[at].text != "}" {
                    at = use_tree(tokens, at, &path, found);
                    at += usize::from(tokens.get(at).is_some_and(|token| token.text == ","));
                }
                return at + 1;
            }
            "as" => at += 2,
            word if word == "*" || is_word(&tokens[at]) => {
                path = match (path.as_str(), word) {
                    ("", _) => word.to_owned(),
                    (_, "self") => path,
                    _ => format!("{path}::{word}"),
                };
                at += 1;
                let ends = tokens.get(at).is_none_or(|token| token.text != "::");
                if ends {
                    found.push((path.clone(), line));
                }
            }
            _ => return at,
        }
    }
    at
}
