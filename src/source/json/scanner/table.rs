//! Tables with a header, row by row.

use super::{Interrupt, RecordHandler, ScanResult, RecordScanner, view};
use crate::source::{
    ForeignKind,
    decode::InputFormat,
    envelope::table::{Cells, CellsRead, EventTable, TableEvent, TableRow, TextEnd},
    json::window::WindowRead,
};

impl<R: RecordHandler + ?Sized> RecordScanner<'_, R> {
    /// Goes through the rows from [`Self::at`], which is behind the header, to the end of the text.
    pub(in crate::source) fn scan_table(&mut self, table: &EventTable) -> ScanResult {
        let (mut cells, mut event) = (Cells::default(), TableEvent::default());
        let mut ends = TextEnd::Later;
        loop {
            match cells.read(table.delimiter(), &view(&self.window, None)[self.at..], ends) {
                CellsRead::Row(length) => {
                    let offset = self.offset(self.at);
                    self.at += length;
                    self.scan_table_row(table, (&cells, &mut event), offset)?;
                }
                CellsRead::End => return Ok(()),
                CellsRead::Incomplete => match self.read_more()? {
                    WindowRead::Read => {}
                    WindowRead::End => ends = TextEnd::Here,
                    WindowRead::Full => return Err(self.unterminated_row()),
                },
                CellsRead::TooWide => return Err(self.unterminated_row()),
            }
        }
    }

    fn unterminated_row(&mut self) -> Interrupt {
        self.add_defect(self.offset(self.at), "a row that is too long; a quote may be missing");
        Interrupt::Foreign
    }

    fn scan_table_row(
        &mut self,
        table: &EventTable,
        (cells, event): (&Cells, &mut TableEvent),
        offset: u64,
    ) -> ScanResult {
        if cells.len() < table.width() {
            self.add_defect(offset, "a row with fewer columns than the header");
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
        let told = |value: &'_ [u8]| !value.is_empty();
        let username = Some(&*event.username).filter(|value| told(value));
        let resources = Some(&*event.resources).filter(|value| told(value));
        self.records.envelope_fields(username, resources);
        let done = self.emit_restored(offset);
        self.records.envelope_fields(None, None);
        done
    }
}
