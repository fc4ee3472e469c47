//! Who copies files, and what stands behind links.

use std::path::{Path, PathBuf};
use std::time::Duration;

use standpipe::engine::port::Hint;

use super::actions::Deed;
use super::disk::FileIndex;
use super::excuse::Excuse;
use super::special::Special;
use super::world::{Todo, World};

impl World {
    pub fn perform_with_link(&mut self, special: &Special) {
        match special {
            Special::Link { link, target } => {
                if self.disk.names.contains_key(link) {
                    return;
                }
                if let Some(old) = self.disk.find(link) {
                    self.leave(old);
                }
                self.disk.links.insert(link.clone(), target.clone());
                self.append(target);
                let file = self.disk.names[target];
                self.named(file);
                self.hint(Hint::Names);
            }
            Special::RotateTarget(link) => {
                let Some(target) = self.disk.links.get(link).cloned() else { return };
                self.chain(&target);
            }
            Special::TruncateTarget(link) => {
                self.append(link);
                let Some(target) = self.disk.links.get(link).cloned() else { return };
                if let Some(file) = self.disk.find(&target) {
                    self.disk.complete(file);
                }
                self.copy_and_truncate(&target);
            }
            _ => unreachable!("no deed with a link"),
        }
    }

    /// No link leads to this file any more.
    fn leave(&mut self, file: FileIndex) {
        self.disk.complete(file);
        let is_open = self.open.values().any(|open| *open == file);
        if self.engine.is_some() && !is_open {
            self.excuse(file, Excuse::BetweenTwoLooks);
        } else if !is_open && !self.is_saved(file) {
            self.excuse(file, Excuse::DeletedWhileDown);
        }
    }

    pub fn perform_copy(&mut self, special: &Special) {
        match special {
            Special::CopySlowly { name, copy, millis } => {
                let Some(file) = self.disk.find(name).filter(|_| !self.is_being_copied(name)) else { return };
                self.disk.complete(file);
                self.copy_to(file, copy);
                let end = Special::EndCopy { name: name.clone(), copy: copy.clone() };
                self.then(Duration::from_millis(*millis), end);
            }
            Special::EndCopy { name, copy } => {
                let Some(file) = self.disk.find(name) else { return };
                self.disk.complete(file);
                // Whoever copies goes on from where it was: of what another wrote after a truncation nothing is copied.
                let is_whole = self.copy_rest(file, copy);
                self.oracle.excuse_repeats(Excuse::InDoubt, 1);
                if self.is_looked_at(name) {
                    let copied = if is_whole { self.lines_of(file) } else { Default::default() };
                    self.truncate_but_for(name, &copied, Excuse::CutOff);
                } else {
                    self.truncate_but_for(name, &Default::default(), Excuse::BeforeFirstLook);
                }
            }
            Special::CopyOften { name, times } => {
                for _ in 0..*times {
                    self.append(name);
                    self.copy_in_chain(name);
                }
            }
            Special::RenameCopy { name, copy, millis } => {
                let away = name.with_extension("log.tmp");
                self.rename(name, &away);
                let end = Special::EndRenameCopy { away, copy: copy.clone() };
                self.then(Duration::from_millis(*millis), end);
            }
            Special::EndRenameCopy { away, copy } => {
                let Some(file) = self.disk.find(away) else { return };
                self.copy_to(file, copy);
                self.remove_copied(away);
                self.reached.rename_copied += 1;
            }
            Special::Compress { name, number, millis } => {
                let old = Self::generation_name(name, *number);
                self.rename(name, &old);
                self.then(Duration::from_millis(*millis / 2), Special::BeginCompress(old.clone()));
                self.then(Duration::from_millis(*millis), Special::EndCompress(old));
            }
            Special::BeginCompress(old) => {
                let Some(file) = self.disk.find(old) else { return };
                let compressed = Self::compressed_name(old);
                self.copy_to(file, &compressed);
                let copy = self.disk.names[&compressed];
                let copy = &mut self.disk.files[copy];
                copy.is_compressed = true;
                copy.content.truncate(copy.content.len() / 2);
                let half = copy.content.len() as u64;
                copy.lines.retain(|(end, _)| *end <= half);
            }
            Special::EndCompress(old) => {
                let Some(file) = self.disk.find(old) else { return };
                let compressed = Self::compressed_name(old);
                if !self.disk.names.contains_key(&compressed) {
                    self.copy_to(file, &compressed);
                }
                self.copy_rest(file, &compressed);
                let copy = self.disk.names[&compressed];
                self.disk.files[copy].is_compressed = true;
                self.remove_copied(old);
                self.reached.compressed += 1;
            }
            _ => unreachable!("no deed with a copy"),
        }
    }

    /// As logrotate's copytruncate does it, with a number for each copy.
    fn copy_in_chain(&mut self, name: &Path) {
        let Some(file) = self.disk.find(name).filter(|_| !self.is_being_copied(name)) else { return };
        self.disk.complete(file);
        let number =
            (1..).find(|number| !self.disk.names.contains_key(&Self::generation_name(name, *number)));
        for number in (1..number.expect("a number is free")).rev() {
            let (from, to) = (Self::generation_name(name, number), Self::generation_name(name, number + 1));
            self.rename(&from, &to);
        }
        self.copy_to(file, &Self::generation_name(name, 1));
        self.reached.copies += 1;
        self.oracle.excuse_repeats(Excuse::InDoubt, 1);
        if self.is_looked_at(name) {
            let copied = self.lines_of(file);
            self.truncate_but_for(name, &copied, Excuse::CutOff);
        } else {
            self.truncate_but_for(name, &Default::default(), Excuse::BeforeFirstLook);
        }
    }

    /// A rotator copies a file once at a time: logrotate holds a lock meanwhile.
    fn is_being_copied(&self, file: &Path) -> bool {
        let ends = |todo: &Todo| matches!(todo, Todo::Then(Deed::Special(Special::EndCopy { name, .. })) if name == file);
        self.queue.values().any(ends)
    }

    fn compressed_name(old: &Path) -> PathBuf {
        let mut compressed = old.to_owned().into_os_string();
        compressed.push(".gz");
        compressed.into()
    }

    /// The copy has now what was written since it was begun, unless the file was truncated since; tells whether that is so.
    fn copy_rest(&mut self, file: FileIndex, copy: &Path) -> bool {
        let Some(copy) = self.disk.find(copy) else { return false };
        if !self.disk.files[file].content.starts_with(&self.disk.files[copy].content) {
            return false;
        }
        let (content, lines) = (self.disk.files[file].content.clone(), self.disk.files[file].lines.clone());
        self.disk.files[copy].content = content;
        self.disk.files[copy].lines = lines;
        true
    }

    /// Unlinks a file of which there is a copy: no line of it is gone.
    fn remove_copied(&mut self, name: &Path) {
        let Some(file) = self.disk.names.get(name).copied() else { return };
        self.disk.unlink(name);
        if !self.open.values().any(|open| *open == file) {
            self.release(file);
        }
        self.hint(Hint::Names);
    }

    pub fn stranger(&mut self, name: &Path, copy: &Path) {
        let Some(file) = self.disk.find(name) else { return };
        self.disk.complete(file);
        let lines = self.disk.files[file].lines.clone();
        let len = self.disk.files[file].content.len() as u64;
        if len < 6_000 || self.disk.names.contains_key(copy) {
            return;
        }
        self.copy_to(file, copy);
        let copy = self.disk.names[copy];
        let mut start = 0;
        for (place, (end, _)) in lines.iter().enumerate() {
            let bytes = usize::try_from(end - start).expect("small");
            if start > 1_100 && *end + 600 < len && bytes > 20 {
                let (number, text) = self.oracle.write_exactly(bytes);
                let at = usize::try_from(start).expect("small");
                self.disk.files[copy].content[at..at + bytes].copy_from_slice(&text);
                self.disk.files[copy].lines[place].1 = number;
            }
            start = *end;
        }
        self.named(copy);
        self.oracle.excuse_repeats(Excuse::InDoubt, 1);
        self.cut(file, &Default::default(), Excuse::CutOff);
        self.hint_grown(name);
    }
}
