//! Tables of events with a header: CSV of the console's event history, Athena, CloudTrail Lake, Splunk, Logs Insights.
//!
//! In: the first line, then one row after another as cells. Out: where the event is in the row, or the event, put
//! together under CloudTrail's names.
//! ColumnType: a row becomes an event only under its own event ID, so that it can never stand beside the full event.

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

use super::{
    field_names::{ColumnType, FieldName, RECORD, named},
    unsupported_input::UnsupportedInput,
    column_values,
};

/// Characters that part columns, in the order in which they are tried.
const DELIMITERS: [u8; 3] = [b',', b'\t', b';'];

/// Columns of a table: more than any event has fields.
const MOST_COLUMNS: usize = 4_096;

/// What is known about a table.
#[derive(Debug)]
pub(in crate::source) struct EventTable {
    delimiter: u8,
    columns: Vec<Column>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Column {
    /// The whole event as text; the lowest number counts first.
    Event(u8),
    /// A field, by its path.
    Field(Vec<Vec<u8>>),
    /// What the console tells beside the event.
    Username,
    ResourceType,
    ResourceName,
    /// The exporting program's own.
    Own,
}

/// What a row holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::source) enum TableRow {
    /// The whole event, as the text in this cell.
    Text(usize),
    /// The event was put together.
    Record,
    /// Nothing of CloudTrail.
    Foreign,
}

/// The event that a row was put together to.
#[derive(Debug, Default)]
pub(in crate::source) struct TableEvent {
    /// As JSON.
    pub(in crate::source) record: Vec<u8>,
    /// The value of `Username` as LookupEvents has it; empty without one.
    pub(in crate::source) username: Vec<u8>,
    /// The value of `Resources`; empty without one.
    pub(in crate::source) resources: Vec<u8>,
}

/// The cells of one row.
#[derive(Debug, Default)]
pub(in crate::source) struct Cells {
    text: Vec<u8>,
    ends: Vec<usize>,
    used: usize,
}

/// Where the table's text ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::source) enum TextEnd {
    /// With the piece in hand.
    Here,
    /// Perhaps behind it.
    Later,
}

/// PayloadForm reading the cells of a row ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::source) enum CellsRead {
    /// There is a row; it ends before this place.
    Row(usize),
    /// The text ends inside the row.
    Incomplete,
    /// It has more cells than any table.
    TooWide,
    /// There are no more rows.
    End,
}

impl Cells {
    /// Returns the cell with this number; an empty one if the row is too short.
    pub(in crate::source) fn get(&self, number: usize) -> &[u8] {
        let Some(&end) = self.ends[..self.used].get(number) else { return &[] };
        let start = number.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[start..end]
    }

    /// Returns how many there are.
    pub(in crate::source) fn len(&self) -> usize {
        self.used
    }

    /// Reads the row at the beginning of `text`. `ends` says whether anything follows behind the text.
    pub(in crate::source) fn read(&mut self, delimiter: u8, text: &[u8], ends: TextEnd) -> CellsRead {
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
                // Asked once more with nothing: that is how the end is told.
                ReadRecordResult::InputEmpty if ends == TextEnd::Here => {}
                ReadRecordResult::InputEmpty => return CellsRead::Incomplete,
                ReadRecordResult::OutputFull => self.text.resize(self.text.len() * 2, 0),
                ReadRecordResult::OutputEndsFull if cells >= MOST_COLUMNS => return CellsRead::TooWide,
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
    /// Returns what the table with this first line is, or nothing if it is none of ours.
    ///
    /// # Errors
    ///
    /// Returns [`UnsupportedInput`] if its rows are parts of CloudTrail events that cannot be told apart.
    pub(in crate::source) fn new(header: &[u8]) -> Option<Result<Self, UnsupportedInput>> {
        DELIMITERS.iter().find_map(|&delimiter| {
            let mut cells = Cells::default();
            let CellsRead::Row(_) = cells.read(delimiter, header, TextEnd::Here) else { return None };
            let columns: Vec<Column> =
                (0..cells.len()).map(|number| Column::of(cells.get(number))).collect();
            let table = Self { delimiter, columns };
            let has =
                |name: &str| table.columns.contains(&Column::Field(vec![name.as_bytes().to_vec()]));
            let holds_event = table.columns.iter().any(|column| matches!(column, Column::Event(_)));
            let is_trail = has("eventName")
                && (has("eventSource") || has("eventTime") && has("eventID"))
                || has("eventVersion") && has("userIdentity");
            match () {
                () if holds_event || is_trail && has("eventID") => Some(Ok(table)),
                () if is_trail => Some(Err(UnsupportedInput::NoId)),
                () => None,
            }
        })
    }

    /// Returns what parts the columns.
    pub(in crate::source) fn delimiter(&self) -> u8 {
        self.delimiter
    }

    /// Returns how many columns there are.
    pub(in crate::source) fn width(&self) -> usize {
        self.columns.len()
    }

    /// Reads one row; what it is put together to is written to `event`.
    pub(in crate::source) fn row(&self, cells: &Cells, event: &mut TableEvent) -> TableRow {
        let texts = self.columns.iter().enumerate().filter_map(|(number, column)| match column {
            Column::Event(rank) if is_event(cells.get(number)) => Some((*rank, number)),
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
        self.put_together(cells, event);
        TableRow::Record
    }

    fn put_together(&self, cells: &Cells, event: &mut TableEvent) {
        let TableEvent { record, username, resources } = event;
        let mut tree = Vec::new();
        let (mut kind, mut name): (&[u8], &[u8]) = (&[], &[]);
        username.clear();
        for (number, column) in self.columns.iter().enumerate() {
            let cell = cells.get(number);
            match column {
                _ if cell.is_empty() => {}
                Column::Field(path) => put(&mut tree, path, cell),
                Column::Username =>column_values::quote(cell, username),
                Column::ResourceType => kind = cell,
                Column::ResourceName => name = cell,
                Column::Event(_) | Column::Own => {}
            }
        }
        record.clear();
        write(&tree, RECORD, record);
        resources.clear();
        if !kind.is_empty() || !name.is_empty() {
            resources.extend_from_slice(b"[{\"ResourceType\":");
           column_values::quote(kind, resources);
            resources.extend_from_slice(b",\"ResourceName\":");
           column_values::quote(name, resources);
            resources.extend_from_slice(b"}]");
        }
    }
}

impl Column {
    /// Returns what a column with that name holds.
    fn of(header: &[u8]) -> Self {
        let header = header.strip_prefix(b"\xef\xbb\xbf").unwrap_or(header).trim_ascii();
        let plain: Vec<u8> = header
            .iter()
            .filter(|byte| byte.is_ascii_alphanumeric() || b".@_".contains(byte))
            .map(u8::to_ascii_lowercase)
            .collect();
        match &*plain {
            b"event.original" | b"eventjson" | b"cloudtrailevent" | b"event.original.keyword" => {
                Self::Event(0)
            }
            b"_raw" | b"@message" | b"_source" => Self::Event(1),
            b"message" | b"full_log" => Self::Event(2),
            b"username" => Self::Username,
            b"resourcetype" | b"resourcetypes" => Self::ResourceType,
            b"resourcename" | b"resourcenames" => Self::ResourceName,
            b"awsaccesskey" | b"awsaccesskeyid" => Self::field(b"userIdentity.accessKeyId"),
            b"" | [b'_' | b'@' | b'.', ..] => Self::Own,
            _ if header.ends_with(b"}") || header.windows(2).any(|two| two == b"{}") => Self::Own,
            _ => {
                let bare: Vec<u8> = plain.iter().filter(|byte| **byte != b'_').copied().collect();
                let first = bare.split(|byte| *byte == b'.').next().unwrap_or_default();
                if named(RECORD, first).is_some() {
                    Self::field(&bare)
                } else {
                    Self::field(header)
                }
            }
        }
    }

    /// Returns the field that a path leads to, under CloudTrail's names as far as they are known.
    fn field(path: &[u8]) -> Self {
        let mut names: &'static [FieldName] = RECORD;
        let segments = path.split(|byte| *byte == b'.').map(|segment| {
            let Some(name) = named(names, segment) else {
                names = &[];
                return segment.to_vec();
            };
            names = match name.holds {
                ColumnType::Object(below) => below,
                _ => &[],
            };
            name.name.as_bytes().to_vec()
        });
        Self::Field(segments.collect())
    }
}

/// A part of an event being put together.
enum Part<'t> {
    Cell(&'t [u8]),
    Object(Tree<'t>),
}

type Tree<'t> = Vec<(&'t [u8], Part<'t>)>;

fn put<'t>(tree: &mut Tree<'t>, path: &'t [Vec<u8>], cell: &'t [u8]) {
    let Some((first, rest)) = path.split_first() else { return };
    let known = tree.iter().position(|(key, _)| *key == &**first);
    let at = known.unwrap_or(tree.len());
    match (known, rest.is_empty()) {
        (None, true) => tree.push((first, Part::Cell(cell))),
        (None, false) => tree.push((first, Part::Object(Vec::new()))),
        // The same twice: the first counts.
        (Some(_), true) => return,
        (Some(_), false) => {}
    }
    if let (false, Part::Object(below)) = (rest.is_empty(), &mut tree[at].1) {
        put(below, rest, cell);
    }
}

fn write(tree: &Tree<'_>, names: &'static [FieldName], out: &mut Vec<u8>) {
    out.push(b'{');
    for (number, (key, part)) in tree.iter().enumerate() {
        if number > 0 {
            out.push(b',');
        }
       column_values::quote(key, out);
        out.push(b':');
        let holds = named(names, key).map_or(ColumnType::Text, |name| name.holds);
        match (part, holds) {
            (Part::Cell(cell), holds) =>column_values::cell(cell, holds, out),
            (Part::Object(below), ColumnType::Object(names)) => write(below, names, out),
            (Part::Object(below), _) => write(below, &[], out),
        }
    }
    out.push(b'}');
}

/// Returns whether a cell may hold an event as text.
fn is_event(cell: &[u8]) -> bool {
    matches!(cell.trim_ascii_start().first(), Some(b'{' | b'['))
}

/// Returns whether the text is shaped like an event's ID.
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
        while let CellsRead::Row(end) = cells.read(table.delimiter(), &text.as_bytes()[at..], TextEnd::Here)
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
                UnsupportedInput::NoId,
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
