//! Who renames, copies, truncates and removes files.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use standpipe::engine::FileState;
use standpipe::engine::port::Hint;
use standpipe::model::renamed::Renamed;
use standpipe::rules::rotation::family::rotated_from;

use super::disk::{FileIndex, LineNumber};
use super::excuse::Excuse;
use super::world::World;

impl World {
    /// Renames a file to the first name behind its own; often another takes its place.
    pub fn rotate(&mut self, name: &Path) {
        let Some(file) = self.disk.names.get(name).copied() else { return };
        self.reached.rotations += 1;
        self.disk.complete(file);
        let old = name.with_extension("log.1");
        if self.disk.names.contains_key(&old) {
            self.remove(&old);
        }
        self.disk.rename(name, &old);
        self.note_renamed(file, &old);
        self.hint_renamed(name, &old);
        if self.rng.bool() {
            self.create(name);
        }
    }

    /// Both names of a file that was renamed are told, where both directories are watched.
    pub fn hint_renamed(&mut self, from: &Path, to: &Path) {
        let is_away = [from, to].iter().any(|name| name.starts_with("/away"));
        let renamed = || Renamed { from: from.into(), to: to.into() };
        self.hint(if is_away { Hint::Names } else { Hint::Renamed(renamed()) });
    }

    /// A file has a name now that no source matches: unless it is one that rotators make, and the file has a birth time,
    /// only who knew the file can find it.
    pub fn note_renamed(&mut self, file: FileIndex, to: &Path) {
        let is_open = self.is_open_for_all(file);
        if self.engine.is_none() {
            self.reached.renamed_while_down += u64::from(self.is_saved(file));
        }
        let is_closed = self.closed.values().any(|closed| *closed == file);
        self.reached.closed_and_renamed += u64::from(is_closed);
        let is_known = is_open || is_closed || (self.engine.is_none() && self.is_saved(file));
        let is_generation =
            rotated_from(to).iter().any(|name| self.disk.is_a_place(name, |name| self.layout.due(name) != 0));
        let is_looked_at = rotated_from(to).iter().all(|name| self.is_looked_at(name));
        let is_ageless = self.disk.files[file].identity.birth_nanos.is_none();
        match (is_known, is_generation) {
            (true, _) => {}
            (false, true) if is_ageless => self.excuse(file, Excuse::Ageless),
            (false, true) if !is_looked_at => self.excuse(file, Excuse::BeforeFirstLook),
            (false, true) => {}
            (false, false) => self.excuse(file, Excuse::RenamedUnseen),
        }
    }

    /// Whether every source that matches a name was looked at, by a process of which something is durable, or that runs.
    pub fn is_looked_at(&self, name: &Path) -> bool {
        let sources = self.sources_in_and_out(name);
        let are_looked_at = sources.iter().all(|source| self.ailments.looked.contains_key(source));
        are_looked_at && !(self.first_start && self.engine.is_none())
    }

    /// Whether every stream that the file is for has it open.
    fn is_open_for_all(&self, file: FileIndex) -> bool {
        let open = self.open.values().filter(|open| **open == file).count();
        open > 0 && open >= self.disk.files[file].due.count_ones() as usize
    }

    /// As logrotate's copytruncate does it.
    pub fn copy_and_truncate(&mut self, name: &Path) {
        let Some(file) = self.disk.names.get(name).copied() else { return };
        self.reached.copies += 1;
        self.disk.complete(file);
        let is_matched = self.rng.bool();
        let copy = if is_matched {
            name.with_file_name(format!("{}-1.log", name.file_stem().expect("named").display()))
        } else {
            name.with_extension("log.1")
        };
        self.copy_to(file, &copy);
        let is_matched = is_matched && self.layout.due(&copy) != 0;
        let is_read = self.is_read(file);
        let copied = self.lines_of(file);
        if self.rng.u8(0..5) == 0 {
            self.append(name);
        }
        // What it comes to when the daemon cannot look, or is late: the copy is shipped as a file of its own.
        self.oracle.excuse_repeats(Excuse::InDoubt, 1);
        if is_matched || is_read {
            self.truncate_but_for(name, &copied, Excuse::CutOff);
        } else {
            self.truncate_but_for(name, &BTreeSet::new(), Excuse::CopyNotSought);
        }
    }

    /// Makes a copy under a name, in place of what has it.
    pub fn copy_to(&mut self, file: FileIndex, copy: &Path) {
        if self.disk.names.contains_key(copy) {
            self.remove(copy);
        }
        let index = self.disk.copy(file, copy);
        self.disk.files[index].due = self.disk.files[file].due;
        self.hint(Hint::Names);
    }

    pub fn lines_of(&self, file: FileIndex) -> BTreeSet<LineNumber> {
        self.disk.files[file].lines.iter().map(|(_, number)| *number).collect()
    }

    /// Whether the daemon has taken in something of the present content, not of what was there before a truncation that
    /// it does not know of.
    fn is_read(&mut self, file: FileIndex) -> bool {
        let identity = self.disk.files[file].identity;
        let is_read = self.status().is_some_and(|status| {
            let of_file = status.files.listed.iter().filter(|status| status.identity == identity);
            of_file
                .filter(|status| status.state != FileState::Truncated)
                .any(|status| status.read.bytes() > 0)
        });
        is_read && self.read_to.get(&file).is_some_and(|read| *read > 0)
    }

    pub fn truncate(&mut self, name: &Path) {
        self.truncate_but_for(name, &BTreeSet::new(), Excuse::CutOff);
    }

    /// `elsewhere`: lines that are also in another file, where the daemon is to find them.
    pub fn truncate_but_for(&mut self, name: &Path, elsewhere: &BTreeSet<LineNumber>, why: Excuse) {
        let Some(file) = self.disk.find(name) else { return };
        self.cut(file, elsewhere, why);
        self.hint_grown(name);
        if self.rng.bool() {
            self.append(name);
        }
    }

    pub fn cut(&mut self, file: FileIndex, elsewhere: &BTreeSet<LineNumber>, why: Excuse) {
        self.reached.truncations += 1;
        self.bytes_gone_but_for(file, elsewhere, why);
        for number in self.disk.truncate(file) {
            if !elsewhere.contains(&number)
                && !self.oracle.is_settled(number)
                && !self.oracle.is_fragile(number)
            {
                self.oracle.bytes_gone(number, false, why);
            }
        }
        self.read_to.remove(&file);
        self.seen_to.remove(&file);
        *self.generation.entry(file).or_default() += 1;
    }

    pub fn remove(&mut self, name: &Path) {
        let Some(file) = self.disk.names.get(name).copied() else { return };
        self.disk.complete(file);
        self.disk.unlink(name);
        if self.disk.is_named(file) {
            // Another name of it is left.
        } else if self.open.values().any(|open| *open == file) {
            let lines = &self.disk.files[file].lines;
            let unread = lines.iter().any(|(_, number)| !self.oracle.is_settled(*number));
            self.reached.removed_with_unread_lines += u64::from(unread);
            if self.is_wide() && !self.is_open_for_all(file) {
                self.excuse(file, Excuse::SeenAndDeleted);
            }
        } else {
            let is_closed = self.closed.values().any(|closed| *closed == file);
            let why = match &self.engine {
                None => Excuse::DeletedWhileDown,
                Some(_) if is_closed => Excuse::ClosedAndDeleted,
                Some(_) if self.seen_to.contains_key(&file) => Excuse::SeenAndDeleted,
                Some(_) => Excuse::BetweenTwoLooks,
            };
            self.bytes_gone(file, why);
            self.release(file);
        }
        self.hint(Hint::Names);
    }

    /// The name that a rotator gives to the generation of that number.
    pub fn generation_name(name: &Path, number: u32) -> PathBuf {
        if number == 0 { name.to_owned() } else { name.with_extension(format!("log.{number}")) }
    }
}
