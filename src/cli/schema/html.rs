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
        if rest.starts_with('<') {
            let end = rest.find('>').map_or(rest.len(), |end| end + 1);
            if is_block(&rest[..end]) {
                text.push(' ');
            }
            rest = &rest[end..];
        } else {
            let (char, length) = entity(rest);
            text.push_str(char);
            rest = &rest[length..];
        }
    }
    text.push_str(rest);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Returns whether a tag separates words.
fn is_block(tag: &str) -> bool {
    let name: String = tag
        .trim_start_matches(['<', '/'])
        .chars()
        .take_while(char::is_ascii_alphanumeric)
        .collect();
    !matches!(name.as_str(), "a" | "b" | "code" | "em" | "i" | "strong" | "span" | "u")
}

/// Returns the text of the entity at the start, and its length. Anything else that starts with `&` is that character.
fn entity(text: &str) -> (&'static str, usize) {
    const ENTITIES: [(&str, &str); 7] = [
        ("&amp;", "&"),
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#39;", "'"),
        ("&apos;", "'"),
        ("&nbsp;", " "),
    ];
    let known = ENTITIES.iter().find(|(entity, _)| text.starts_with(entity));
    known.map_or(("&", 1), |(entity, char)| (char, entity.len()))
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
            ("", ""),
        ];
        for (html, text) in cases {
            assert_eq!(to_text(html), text, "{html}");
        }
    }
}
