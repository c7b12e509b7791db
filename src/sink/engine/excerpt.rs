//! Short excerpts of unexpected response bodies, safe to print on a terminal.

/// Characters of an excerpt: enough to recognize a page.
const MAX_CHARS: usize = 80;

/// Bytes of a body that are examined: titles are at its beginning.
const MAX_INPUT_BYTES: usize = 4 << 10;

/// Returns the first words of a page or a text, without markup and without characters that control a terminal.
pub(in crate::sink) fn excerpt(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(MAX_INPUT_BYTES)]);
    let mut plain = String::new();
    let mut in_tag = false;
    for character in text.chars() {
        match character {
            '<' => in_tag = true,
            '>' if in_tag => {
                in_tag = false;
                plain.push(' ');
            }
            _ if in_tag => {}
            character if character.is_whitespace() || character.is_control() => plain.push(' '),
            character if is_invisible(character) => {}
            character => plain.push(character),
        }
    }
    let mut excerpt = String::new();
    for word in plain.split(' ').filter(|word| !word.is_empty()) {
        let gap = if excerpt.is_empty() { "" } else { " " };
        if excerpt.chars().count() + word.chars().count() >= MAX_CHARS {
            let left = MAX_CHARS.saturating_sub(excerpt.chars().count());
            excerpt.extend(gap.chars().chain(word.chars()).take(left));
            excerpt.push('…');
            break;
        }
        excerpt.push_str(gap);
        excerpt.push_str(word);
    }
    excerpt
}

/// Returns whether a character is invisible or changes the direction of text.
fn is_invisible(character: char) -> bool {
    matches!(character, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fffd}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_short() {
        assert_eq!(excerpt(b"<p>a</p> b\r\n\tc"), "a b c");
        let long = excerpt("x".repeat(5_000).as_bytes());
        assert_eq!(long.chars().count(), MAX_CHARS + 1);
        assert!(long.ends_with('…'));
        assert_eq!(excerpt("word ".repeat(100).as_bytes()).chars().last(), Some('…'));
    }
}
