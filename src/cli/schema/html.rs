//! Turns the HTML of descriptions in API models into text.
//!
//! Input: a description. Output: its text on one line. Invariant: no tag is left, and entities are characters.

/// Returns the text of a description: without tags, with entities resolved and white space collapsed.
pub(super) fn to_text(html: &str) -> String {
    let mut text = String::with_capacity(html.len());
    let mut rest = html;
    while let Some(at) = rest.find(['<', '&']) {
        text.push_str(&rest[..at]);
        rest = &rest[at..];
        let length = if rest.starts_with('<') {
            push_tag(&mut text, rest)
        } else {
            push_entity(&mut text, rest)
        };
        rest = &rest[length..];
    }
    text.push_str(rest);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Tags within words.
const INLINE: [&str; 16] = [
    "a",
    "b",
    "code",
    "em",
    "emphasis",
    "filename",
    "function",
    "i",
    "link",
    "literal",
    "replaceable",
    "span",
    "strong",
    "tt",
    "u",
    "ulink",
];

/// Tags that separate words.
const BLOCKS: [&str; 33] = [
    "br",
    "caption",
    "dd",
    "div",
    "dl",
    "dt",
    "fullname",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "hr",
    "important",
    "li",
    "note",
    "ol",
    "p",
    "para",
    "pre",
    "section",
    "table",
    "tbody",
    "td",
    "th",
    "thead",
    "title",
    "tr",
    "ul",
    "warning",
    "xhtml",
    "zonbook",
];

/// Appends what a tag stands for, and returns its length. Anything else that starts with `<` is that character: some
/// descriptions have placeholders such as `<region>`.
fn push_tag(text: &mut String, rest: &str) -> usize {
    let name: String = rest
        .trim_start_matches(['<', '/'])
        .chars()
        .take_while(char::is_ascii_alphanumeric)
        .map(|letter| letter.to_ascii_lowercase())
        .collect();
    let is_block = BLOCKS.contains(&name.as_str());
    if !is_block && !INLINE.contains(&name.as_str()) {
        text.push('<');
        return 1;
    }
    if is_block {
        text.push(' ');
    }
    rest.find('>').map_or(rest.len(), |end| end + 1)
}

/// Appends the text of an entity, and returns its length. Anything else that starts with `&` is that character.
fn push_entity(text: &mut String, rest: &str) -> usize {
    /// The longest entity: `&#x10FFFF;`.
    const LONGEST: usize = 10;
    let name = rest.bytes().take(LONGEST).position(|byte| byte == b';').map(|end| &rest[1..end]);
    let letter = name.and_then(|name| match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        "nbsp" => Some(' '),
        _ => numbered(name),
    });
    if let (Some(letter), Some(name)) = (letter, name) {
        text.push(letter);
        name.len() + 2
    } else {
        text.push('&');
        1
    }
}

/// Returns the character of `#150` or `#x96`. Numbers of control characters are those of Windows, where 150 is a dash.
fn numbered(name: &str) -> Option<char> {
    let digits = name.strip_prefix('#')?;
    let number = match digits.strip_prefix(['x', 'X']) {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => digits.parse(),
    };
    match number.ok()? {
        0x91 | 0x92 => Some('\''),
        0x93 | 0x94 => Some('"'),
        0x96 | 0x97 => Some('–'),
        0x85 => Some('…'),
        0x2028 | 0x2029 | 0xa0 => Some(' '),
        number => char::from_u32(number).filter(|letter| !letter.is_control()),
    }
}

#[cfg(test)]
mod tests {
    use super::to_text;

    #[test]
    fn descriptions_become_one_line_of_text() {
        let cases = [
            ("<p>Creates a <code>policy</code>.</p>", "Creates a policy."),
            ("<p>One.</p> <p>Two</p><ul><li>a</li><li>b</li></ul>", "One. Two a b"),
            ("a &lt; b &amp;&amp; c &unknown;", "a < b && c &unknown;"),
            ("cut <a href=\"x", "cut"),
            ("arn:aws:s3:<region>:<i>account</i>", "arn:aws:s3:<region>:account"),
            ("1&#150;2 &#x96; 3&#x2028;4 &#39; &#0; &#x;", "1–2 – 3 4 ' &#0; &#x;"),
            ("a < b && c <", "a < b && c <"),
            (
                "\u{fc}&\u{fc}\u{fc}\u{fc}\u{fc}\u{fc}\u{fc};",
                "\u{fc}&\u{fc}\u{fc}\u{fc}\u{fc}\u{fc}\u{fc};",
            ),
            ("", ""),
        ];
        for (html, text) in cases {
            assert_eq!(to_text(html), text, "{html}");
        }
    }
}
