//! Reads single elements of the XML documents that AWS services return.
//!
//! Input: a document. Output: the text of elements.
//! Invariant: a document that is not XML, or ends too early, yields no text instead of an error, because it may be the
//! response of a gateway on the way.
//! Deliberately absent: attributes and namespaces; the documents that are read use neither for data.

use aws_smithy_xml::decode::{Document, try_data};

/// Returns the text of the first element with one of these names; `None` if the document has none or it is empty.
pub(crate) fn first_text(document: &str, names: &[&str]) -> Option<String> {
    let mut document = Document::new(document);
    while let Some(element) = document.next_start_element() {
        if names.contains(&element.local()) {
            let text = try_data(&mut document).ok()?.trim().to_owned();
            return (!text.is_empty()).then_some(text);
        }
    }
    None
}

/// Returns, for each element called `item`, the texts of those of its children that are called `fields`.
pub(super) fn items<const N: usize>(
    document: &str,
    item: &str,
    fields: [&str; N],
) -> Vec<[Option<String>; N]> {
    let mut document = Document::new(document);
    let mut items = Vec::new();
    while let Some(element) = document.next_start_element() {
        if element.local() != item {
            continue;
        }
        let mut texts = [const { None }; N];
        let mut scope = document.scoped_to(element);
        while let Some(mut child) = scope.next_tag() {
            let field = fields.iter().position(|field| child.start_el().local() == *field);
            if let (Some(field), Ok(text)) = (field, try_data(&mut child)) {
                texts[field] = Some(text.trim().to_owned());
            }
        }
        items.push(texts);
    }
    items
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_element_is_read_without_its_entities() {
        let document = "<?xml version=\"1.0\"?><A xmlns=\"x\"><B>1 &lt; 2 &amp; 3</B><B>4</B></A>";
        assert_eq!(first_text(document, &["C", "B"]).as_deref(), Some("1 < 2 & 3"));
        assert_eq!(first_text(document, &["C"]), None);
    }

    #[test]
    fn a_broken_document_has_no_text() {
        for document in ["", "text", "<A>", "<A></B>", "<A/>", "<A><B/></A>", "<A>&nope;</A>", "{}"]
        {
            assert_eq!(first_text(document, &["A"]), None, "{document}");
        }
    }

    #[test]
    fn items_are_read_field_by_field() {
        let document =
            "<R><l><item><a>1</a><x><y>2</y></x><b>3</b></item><item><b>4</b></item></l></R>";
        let text = |text: &str| Some(text.to_owned());
        let expected = vec![[text("1"), text("3")], [None, text("4")]];
        assert_eq!(items(document, "item", ["a", "b"]), expected);
        assert_eq!(items("<item><a>1</a>", "item", ["a"]), vec![[text("1")]], "cut off");
    }
}
