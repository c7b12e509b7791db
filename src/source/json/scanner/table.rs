//! Scans tables with a header, row by row.

use super::{Interrupt, RecordHandler, RecordScanner, ScanResult, visible};
use crate::source::{
    envelope::table::{Cells, CellsRead, EventTable, TableEvent, TableRow, TextEnd},
    input_format::InputFormat,
    json::{classify::ForeignKind, window::WindowRead},
};

impl<R: RecordHandler + ?Sized> RecordScanner<'_, R> {
    /// Scans the rows from [`Self::at`], which is behind the header, to the end of the text.
    pub(super) fn scan_table(&mut self, table: &EventTable) -> ScanResult {
        let (mut cells, mut event) = (Cells::default(), TableEvent::default());
        let mut text_end = TextEnd::Later;
        loop {
            let text = &visible(&self.window, None)[self.at..];
            match cells.read(table.delimiter(), text, text_end) {
                CellsRead::Row(length) => {
                    let offset = self.offset(self.at);
                    self.at += length;
                    self.scan_table_row(table, &cells, &mut event, offset)?;
                }
                CellsRead::End => return Ok(()),
                CellsRead::Incomplete => match self.read_more()? {
                    WindowRead::Read => {}
                    WindowRead::End => text_end = TextEnd::Here,
                    WindowRead::Full => return Err(self.row_too_long()),
                },
                CellsRead::TooWide => return Err(self.row_too_long()),
            }
        }
    }

    fn row_too_long(&mut self) -> Interrupt {
        self.add_defect(self.offset(self.at), "a row is too long; a closing quote may be missing");
        Interrupt::Foreign
    }

    fn scan_table_row(
        &mut self,
        table: &EventTable,
        cells: &Cells,
        event: &mut TableEvent,
        offset: u64,
    ) -> ScanResult {
        if cells.len() < table.width() {
            self.add_defect(offset, "a row has fewer columns than the header");
            return Ok(());
        }
        match table.row(cells, event) {
            TableRow::Foreign => self.count_foreign(ForeignKind::Text),
            TableRow::Text(cell) => {
                let Some(scratch) = self.scratch.first_mut() else { return Ok(()) };
                scratch.clear();
                scratch.extend_from_slice(cells.get(cell));
                if let Some(kind) = self.scan_scratch(offset, InputFormat::Columns)? {
                    self.count_foreign(kind);
                }
            }
            TableRow::Record => {
                self.may_be_cloudtrail = true;
                self.set_format(InputFormat::Columns);
                return self.emit_row(event, offset);
            }
        }
        Ok(())
    }

    fn emit_row(&mut self, event: &TableEvent, offset: u64) -> ScanResult {
        let Some(scratch) = self.scratch.first_mut() else { return Ok(()) };
        scratch.clone_from(&event.record);
        let value = |value: &'_ Vec<u8>| !value.is_empty();
        let username = Some(&event.username).filter(|name| value(name)).map(Vec::as_slice);
        let resources = Some(&event.resources).filter(|list| value(list)).map(Vec::as_slice);
        self.records.envelope_fields(username, resources);
        let emitted = self.emit_restored(offset);
        self.records.envelope_fields(None, None);
        emitted
    }
}
