//! Tables with a header: CSV of the console's event history, Athena, CloudTrail Lake, Splunk and Logs Insights.
//!
//! Input: the first line, then the cells of one row after another. Output: the cell that holds the event, or the event
//! put together from its columns under CloudTrail's names.
//! Invariant: a row is loaded only if it has the event's ID, so that it never becomes a second document of an event.

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

use super::{
    column_values,
    field_names::{ColumnType, FieldName, RECORD, find},
    json_text,
    unsupported_input::UnsupportedInput,
};

/// Characters that separate columns, in the order in which they are tried.
const DELIMITERS: [u8; 3] = [b',', b'\t', b';'];

/// The widest table that is read: no event has as many fields.
const MAX_COLUMNS: usize = 4_096;

/// The columns of a table of events.
#[derive(Debug)]
pub(in crate::source) struct EventTable {
    delimiter: u8,
    columns: Vec<Column>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Column {
    /// The whole event as text. The column with the lowest number is used first.
    WholeEvent(u8),
    /// A field, by its path.
    Field(Vec<Vec<u8>>),
    /// Columns of the console that are not fields of the event.
    Username,
    ResourceType,
    ResourceName,
    /// A column of the exporting program.
    Other,
}

/// What a row of a table holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::source) enum TableRow {
    /// The whole event, in the cell with this number.
    Text(usize),
    /// An event, put together from its columns.
    Record,
    /// Not CloudTrail.
    Foreign,
}

/// An event that was put together from the columns of a row.
#[derive(Debug, Default)]
pub(in crate::source) struct TableEvent {
    /// The record.
    pub(in crate::source) record: Vec<u8>,
    /// The value of `Username`, as in LookupEvents; empty if there is none.
    pub(in crate::source) username: Vec<u8>,
    /// The value of `Resources`, as in LookupEvents; empty if there is none.
    pub(in crate::source) resources: Vec<u8>,
}

/// The cells of one row.
#[derive(Debug, Default)]
pub(in crate::source) struct Cells {
    text: Vec<u8>,
    ends: Vec<usize>,
    used: usize,
}

/// Whether the text of the table ends with the piece in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::source) enum TextEnd {
    /// It ends with the piece.
    Here,
    /// More text may follow.
    Later,
}

/// The result of reading the cells of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::source) enum CellsRead {
    /// A row, which ends before this offset.
    Row(usize),
    /// The text ends inside the row.
    Incomplete,
    /// The row has more than [`MAX_COLUMNS`] cells.
    TooWide,
    /// There are no more rows.
    End,
}

impl Cells {
    /// Returns the cell with this number, or an empty one if the row is shorter.
    pub(in crate::source) fn get(&self, number: usize) -> &[u8] {
        let Some(&end) = self.ends[..self.used].get(number) else { return &[] };
        let start = number.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[start..end]
    }

    /// Returns the number of cells.
    pub(in crate::source) fn len(&self) -> usize {
        self.used
    }

    /// Reads the row at the beginning of `text`.
    pub(in crate::source) fn read(
        &mut self,
        delimiter: u8,
        text: &[u8],
        ends: TextEnd,
    ) -> CellsRead {
        if text.is_empty() && ends == TextEnd::Later {
            return CellsRead::Incomplete;
        }
        let mut reader: Reader = ReaderBuilder::new().delimiter(delimiter).build();
        let (mut at, mut written, mut cells) = (0, 0, 0);
        self.text.resize(self.text.len().max(1 << 10), 0);
        self.ends.resize(self.ends.len().max(64), 0);
        loop {
            let (result, read, wrote, ended) =
                reader.read_record(&text[at..], &mut self.text[written..], &mut self.ends[cells..]);
            at += read;
            written += wrote;
            cells += ended;
            match result {
                ReadRecordResult::InputEmpty if at < text.len() => {}
                // The reader learns of the end by a call without input.
                ReadRecordResult::InputEmpty if ends == TextEnd::Here => {}
                ReadRecordResult::InputEmpty => return CellsRead::Incomplete,
                ReadRecordResult::OutputFull => self.text.resize(self.text.len() * 2, 0),
                ReadRecordResult::OutputEndsFull if cells >= MAX_COLUMNS => {
                    return CellsRead::TooWide;
                }
                ReadRecordResult::OutputEndsFull => self.ends.resize(self.ends.len() * 2, 0),
                ReadRecordResult::Record => {
                    self.used = cells;
                    return CellsRead::Row(at);
                }
                ReadRecordResult::End => return CellsRead::End,
            }
        }
    }
}

impl EventTable {
    /// Returns the table with this first line, or `None` if its rows are not CloudTrail events.
    ///
    /// # Errors
    ///
    /// Returns [`UnsupportedInput`] if its rows are CloudTrail events without their IDs.
    pub(in crate::source) fn new(header: &[u8]) -> Option<Result<Self, UnsupportedInput>> {
        DELIMITERS.iter().find_map(|&delimiter| {
            let mut cells = Cells::default();
            let CellsRead::Row(_) = cells.read(delimiter, header, TextEnd::Here) else {
                return None;
            };
            let columns: Vec<Column> =
                (0..cells.len()).map(|number| Column::from_header(cells.get(number))).collect();
            let table = Self { delimiter, columns };
            let has =
                |name: &str| table.columns.contains(&Column::Field(vec![name.as_bytes().to_vec()]));
            let holds_event =
                table.columns.iter().any(|column| matches!(column, Column::WholeEvent(_)));
            let is_trail = has("eventName")
                && (has("eventSource") || has("eventTime") && has("eventID"))
                || has("eventVersion") && has("userIdentity");
            match () {
                () if holds_event || is_trail && has("eventID") => Some(Ok(table)),
                () if is_trail => Some(Err(UnsupportedInput::NoEventId)),
                () => None,
            }
        })
    }

    /// Returns the character that separates columns.
    pub(in crate::source) fn delimiter(&self) -> u8 {
        self.delimiter
    }

    /// Returns the number of columns.
    pub(in crate::source) fn width(&self) -> usize {
        self.columns.len()
    }

    /// Reads one row. An event that is put together from columns is written to `event`.
    pub(in crate::source) fn row(&self, cells: &Cells, event: &mut TableEvent) -> TableRow {
        let texts = self.columns.iter().enumerate().filter_map(|(number, column)| match column {
            Column::WholeEvent(rank) if is_event(cells.get(number)) => Some((*rank, number)),
            _ => None,
        });
        if let Some((_, number)) = texts.min() {
            return TableRow::Text(number);
        }
        let id = self.columns.iter().position(|column| {
            matches!(column, Column::Field(path) if path.len() == 1 && path[0] == b"eventID")
        });
        if !id.is_some_and(|id| is_uuid(cells.get(id))) {
            return TableRow::Foreign;
        }
        self.assemble(cells, event);
        TableRow::Record
    }

    fn assemble(&self, cells: &Cells, event: &mut TableEvent) {
        let TableEvent { record, username, resources } = event;
        let mut tree = Vec::new();
        let (mut kind, mut name): (&[u8], &[u8]) = (&[], &[]);
        username.clear();
        for (number, column) in self.columns.iter().enumerate() {
            let cell = cells.get(number);
            match column {
                _ if cell.is_empty() => {}
                Column::Field(path) => insert(&mut tree, path, cell),
                Column::Username => json_text::quote(cell, username),
                Column::ResourceType => kind = cell,
                Column::ResourceName => name = cell,
                Column::WholeEvent(_) | Column::Other => {}
            }
        }
        record.clear();
        write(&tree, RECORD, record);
        resources.clear();
        if !kind.is_empty() || !name.is_empty() {
            resources.extend_from_slice(b"[{\"ResourceType\":");
            json_text::quote(kind, resources);
            resources.extend_from_slice(b",\"ResourceName\":");
            json_text::quote(name, resources);
            resources.extend_from_slice(b"}]");
        }
    }
}

impl Column {
    /// Returns the column with this header.
    fn from_header(header: &[u8]) -> Self {
        let header = header.strip_prefix(b"\xef\xbb\xbf").unwrap_or(header).trim_ascii();
        let plain: Vec<u8> = header
            .iter()
            .filter(|byte| byte.is_ascii_alphanumeric() || b".@_".contains(byte))
            .map(u8::to_ascii_lowercase)
            .collect();
        match &*plain {
            b"event.original" | b"eventjson" | b"cloudtrailevent" | b"event.original.keyword" => {
                Self::WholeEvent(0)
            }
            b"_raw" | b"@message" | b"_source" => Self::WholeEvent(1),
            b"message" | b"full_log" => Self::WholeEvent(2),
            b"username" => Self::Username,
            b"resourcetype" | b"resourcetypes" => Self::ResourceType,
            b"resourcename" | b"resourcenames" => Self::ResourceName,
            b"awsaccesskey" | b"awsaccesskeyid" => Self::from_path(b"userIdentity.accessKeyId"),
            b"" | [b'_' | b'@' | b'.', ..] => Self::Other,
            _ if header.ends_with(b"}") || header.windows(2).any(|two| two == b"{}") => Self::Other,
            _ => {
                let bare: Vec<u8> = plain.iter().filter(|byte| **byte != b'_').copied().collect();
                let first = bare.split(|byte| *byte == b'.').next().unwrap_or_default();
                if find(RECORD, first).is_some() {
                    Self::from_path(&bare)
                } else {
                    Self::from_path(header)
                }
            }
        }
    }

    /// Returns the column of the field at a dotted path, with CloudTrail's names as far as they are known.
    fn from_path(path: &[u8]) -> Self {
        let mut names: &'static [FieldName] = RECORD;
        let segments = path.split(|byte| *byte == b'.').map(|segment| {
            let Some(name) = find(names, segment) else {
                names = &[];
                return segment.to_vec();
            };
            names = match name.column_type {
                ColumnType::Object(below) => below,
                _ => &[],
            };
            name.name.as_bytes().to_vec()
        });
        Self::Field(segments.collect())
    }
}

/// A node of an event that is put together.
enum Part<'t> {
    Cell(&'t [u8]),
    Object(Tree<'t>),
}

type Tree<'t> = Vec<(&'t [u8], Part<'t>)>;

fn insert<'t>(tree: &mut Tree<'t>, path: &'t [Vec<u8>], cell: &'t [u8]) {
    let Some((first, rest)) = path.split_first() else { return };
    let known = tree.iter().position(|(key, _)| *key == &**first);
    let at = known.unwrap_or(tree.len());
    match (known, rest.is_empty()) {
        (None, true) => tree.push((first, Part::Cell(cell))),
        (None, false) => tree.push((first, Part::Object(Vec::new()))),
        // Of two columns with the same path the first one is used.
        (Some(_), true) => return,
        (Some(_), false) => {}
    }
    if let (false, Part::Object(below)) = (rest.is_empty(), &mut tree[at].1) {
        insert(below, rest, cell);
    }
}

fn write(tree: &Tree<'_>, names: &'static [FieldName], out: &mut Vec<u8>) {
    out.push(b'{');
    for (number, (key, part)) in tree.iter().enumerate() {
        if number > 0 {
            out.push(b',');
        }
        json_text::quote(key, out);
        out.push(b':');
        let column_type = find(names, key).map_or(ColumnType::Text, |field| field.column_type);
        match (part, column_type) {
            (Part::Cell(cell), _) => column_values::write_cell(cell, column_type, out),
            (Part::Object(below), ColumnType::Object(names)) => write(below, names, out),
            (Part::Object(below), _) => write(below, &[], out),
        }
    }
    out.push(b'}');
}

/// Returns whether a cell may hold a JSON event.
fn is_event(cell: &[u8]) -> bool {
    matches!(cell.trim_ascii_start().first(), Some(b'{' | b'['))
}

/// Returns whether the text has the form of an event's ID.
fn is_uuid(text: &[u8]) -> bool {
    text.len() == 36
        && text.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    const ID: &str = "0a1b2c3d-4e5f-4a6b-8c7d-000000000001";

    fn rows(text: &str) -> Vec<(TableRow, Value, String)> {
        let header = text.lines().next().unwrap();
        let table = EventTable::new(header.as_bytes()).unwrap().unwrap();
        let (mut cells, mut event, mut all) = (Cells::default(), TableEvent::default(), Vec::new());
        let mut at = header.len() + 1;
        while let CellsRead::Row(end) =
            cells.read(table.delimiter(), &text.as_bytes()[at..], TextEnd::Here)
        {
            at += end;
            let row = table.row(&cells, &mut event);
            let beside = [&event.username[..], b" ", &event.resources].concat();
            let record = match row {
                TableRow::Record => serde_json::from_slice(&event.record).unwrap(),
                TableRow::Text(cell) => serde_json::from_slice(cells.get(cell)).unwrap(),
                TableRow::Foreign => Value::Null,
            };
            all.push((row, record, String::from_utf8(beside).unwrap()));
        }
        all
    }

    #[test]
    fn the_history_of_the_console_becomes_events_under_their_ids() {
        let text = format!(
            "\"Event ID\",\"Event time\",\"User name\",\"Event name\",\"Resource type\",\"Resource name\",\"AWS access key\",\"AWS region\",\"Read-only\",\"Source IP address\",\"Error code\"\n\
             \"{ID}\",\"2024-03-01T10:00:00Z\",\"al \"\"i\"\"ce\",\"RunInstances\",\"AWS::EC2::Instance\",\"i-1\",\"AKIA\",\"eu-west-1\",\"false\",\"192.0.2.1\",\n\
             \"no id\",\"2024-03-01T10:00:00Z\",\"x\",\"y\",,,,,,,\n"
        );
        let rows = rows(&text);
        assert_eq!(
            rows[0].1,
            json!({"eventID": ID, "eventTime": "2024-03-01T10:00:00Z",
            "eventName": "RunInstances", "userIdentity": {"accessKeyId": "AKIA"}, "awsRegion": "eu-west-1",
            "readOnly": false, "sourceIPAddress": "192.0.2.1"})
        );
        assert_eq!(
            rows[0].2,
            r#""al \"i\"ce" [{"ResourceType":"AWS::EC2::Instance","ResourceName":"i-1"}]"#
        );
        assert_eq!(rows[1].0, TableRow::Foreign);
    }

    #[test]
    fn a_result_of_athena_becomes_the_event() {
        let text = format!(
            "\"eventversion\",\"useridentity\",\"eventid\",\"eventname\",\"eventsource\",\"requestparameters\",\"bucket\"\n\
             \"1.08\",\"{{type=IAMUser, arn=arn:aws:iam::1:user/u, username=u}}\",\"{ID}\",\"A\",\"s3.amazonaws.com\",\"{{\"\"bucketName\"\":\n\"\"b\"\"}}\",\"b\"\n"
        );
        assert_eq!(
            rows(&text)[0].1,
            json!({"eventVersion": "1.08", "userIdentity": {"type": "IAMUser",
            "arn": "arn:aws:iam::1:user/u", "userName": "u"}, "eventID": ID, "eventName": "A",
            "eventSource": "s3.amazonaws.com", "requestParameters": {"bucketName": "b"}, "bucket": "b"})
        );
    }

    #[test]
    fn columns_of_paths_become_objects() {
        let text = format!(
            "eventID;eventName;eventTime;userIdentity.arn;userIdentity.sessionContext.attributes.mfaAuthenticated;requestParameters.a.b\n{ID};A;t;x;false;1\n"
        );
        assert_eq!(
            rows(&text)[0].1,
            json!({"eventID": ID, "eventName": "A", "eventTime": "t",
            "userIdentity": {"arn": "x", "sessionContext": {"attributes": {"mfaAuthenticated": "false"}}},
            "requestParameters": {"a": {"b": "1"}}})
        );
    }

    #[test]
    fn a_column_with_the_whole_event_counts_before_all_others() {
        for header in [
            "_time,_raw,eventID",
            "@timestamp,@message,x",
            "a,eventJson,message",
            "message,event.original,x",
        ] {
            let text = format!("{header}\n1,\"{{\"\"eventID\"\":\"\"{ID}\"\"}}\",2\n");
            assert_eq!(
                rows(&text)[0],
                (TableRow::Text(1), json!({"eventID": ID}), " ".to_owned()),
                "{header}"
            );
        }
        assert_eq!(rows("_time,_raw\n1,hello\n")[0].0, TableRow::Foreign);
    }

    #[test]
    fn other_tables_are_nobodys_and_parts_without_an_id_are_named() {
        for header in ["a,b,c", "", "name,event time", "# text", "eventname,x", "Event ID,Subject"]
        {
            assert!(EventTable::new(header.as_bytes()).is_none(), "{header}");
        }
        for header in [
            "eventname,eventsource,awsregion",
            "eventversion,useridentity",
            "Event name,Event source,User name",
        ] {
            assert_eq!(
                EventTable::new(header.as_bytes()).unwrap().unwrap_err(),
                UnsupportedInput::NoEventId,
                "{header}"
            );
        }
    }

    proptest! {
        /// Cells are what was put in, wherever the text is cut.
        #[test]
        fn cells_come_back_and_a_cut_is_incomplete(cells in prop::collection::vec("[a\",\r\n;{} é]{0,6}", 2..6), cut in 0.0..1.0) {
            let quoted: Vec<String> = cells.iter().map(|cell| format!("\"{}\"", cell.replace('"', "\"\""))).collect();
            let text = format!("{}\n", quoted.join(","));
            let mut read = Cells::default();
            prop_assert_eq!(read.read(b',', text.as_bytes(), TextEnd::Later), CellsRead::Row(text.len()));
            prop_assert_eq!(read.len(), cells.len());
            for (number, cell) in cells.iter().enumerate() {
                prop_assert_eq!(read.get(number), cell.as_bytes());
            }
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a place within the text")]
            let cut = (text.len() as f64 * cut) as usize;
            prop_assert_eq!(read.read(b',', &text.as_bytes()[..cut], TextEnd::Later), CellsRead::Incomplete);
        }
    }
}
