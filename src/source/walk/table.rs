//! Tables with a header, row by row.

use super::{Halt, Records, Step, Walk, view};
use crate::source::{
    Kind,
    decode::Shape,
    shape::table::{Cells, Ends, Event, Read, Row, Table},
    window::More,
};

impl<R: Records + ?Sized> Walk<'_, R> {
    /// Goes through the rows from [`Self::at`], which is behind the header, to the end of the text.
    pub(super) fn table(&mut self, table: &Table) -> Step {
        let (mut cells, mut event) = (Cells::default(), Event::default());
        let mut ends = Ends::Later;
        loop {
            match cells.read(table.delimiter(), &view(&self.window, None)[self.at..], ends) {
                Read::Row(length) => {
                    let offset = self.offset(self.at);
                    self.at += length;
                    self.table_row(table, (&cells, &mut event), offset)?;
                }
                Read::End => return Ok(()),
                Read::Incomplete => match self.more()? {
                    More::Read => {}
                    More::End => ends = Ends::Here,
                    More::Full => return Err(self.row_without_end()),
                },
                Read::TooWide => return Err(self.row_without_end()),
            }
        }
    }

    fn row_without_end(&mut self) -> Halt {
        self.note(self.offset(self.at), "a row that is too long; a quote may be missing");
        Halt::Foreign
    }

    fn table_row(
        &mut self,
        table: &Table,
        (cells, event): (&Cells, &mut Event),
        offset: u64,
    ) -> Step {
        if cells.len() < table.width() {
            self.note(offset, "a row with fewer columns than the header");
            return Ok(());
        }
        match table.row(cells, event) {
            Row::Foreign => self.foreign(Kind::Text),
            Row::Text(cell) => {
                let Some(scratch) = self.scratch.first_mut() else { return Ok(()) };
                scratch.clear();
                scratch.extend_from_slice(cells.get(cell));
                if let Some(kind) = self.inner(offset, Shape::Columns)? {
                    self.foreign(kind);
                }
            }
            Row::Record => {
                self.hopeful = true;
                self.shape(Shape::Columns);
                return self.event_of_row(event, offset);
            }
        }
        Ok(())
    }

    fn event_of_row(&mut self, event: &Event, offset: u64) -> Step {
        let Some(scratch) = self.scratch.first_mut() else { return Ok(()) };
        scratch.clone_from(&event.record);
        let told = |value: &'_ [u8]| !value.is_empty();
        let username = Some(&*event.username).filter(|value| told(value));
        let resources = Some(&*event.resources).filter(|value| told(value));
        self.records.beside(username, resources);
        let done = self.written(offset);
        self.records.beside(None, None);
        done
    }
}
