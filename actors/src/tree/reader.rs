//! Reads a tree stream as it comes, in pieces of any size.
//!
//! Invariant: whatever the input, memory stays below 100 KiB, and every [`Entry`] that comes out
//! keeps the rules of the format.

use super::entry::{
    ATTRIBUTE, ATTRIBUTE_BYTES, ATTRIBUTES, COUNTS, END, FILE, FOLDER, HARD_LINK, HEAD, LINK,
    OUTWARD_LINK, REMARK, REMARK_BYTES, REMARKS, ROOT, UNREAD, UNREAD_BYTES, UNREAD_ENTRY,
    may_travel,
};
use super::path::{PATH_LIMIT, leads_somewhere};
use super::{Counts, Entry, FileStatus, MAGIC, PathError, TreePath, confined, printable};

/// An event of reading a tree stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A new entry.
    Entry(Entry),
    /// An extended attribute of the root, folder or file that comes next.
    Attribute {
        /// Its name: `user.…`, or one of the two lists of access.
        name: Vec<u8>,
        /// Its value.
        value: Vec<u8>,
    },
    /// A remark of the sender for a person, printable.
    Remark(String),
    /// The path of something that the sender has and could not read; `None` if there are more than
    /// are named.
    Unread(Option<TreePath>),
    /// The next bytes of the file whose entry came last.
    Content(&'a [u8]),
    /// The file is over.
    FileEnd(FileStatus),
    /// The tree is over.
    End(Counts),
}

/// An error of reading a tree stream. A sender that follows the format never causes one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TreeError {
    /// The first bytes are others, or of another version.
    #[error("this is no tree stream of version 1")]
    Magic,
    /// An entry of a kind that does not exist.
    #[error("the tree stream has an entry of the unknown kind {kind}")]
    Kind {
        /// The kind given.
        kind: u8,
    },
    /// A field that has to be 0 is not, or a length is beyond its limit.
    #[error("the tree stream has an entry of kind {kind} with an impossible {field}")]
    Field {
        /// The kind of the entry.
        kind: u8,
        /// The name of the field.
        field: &'static str,
    },
    /// A path that is none.
    #[error("the tree stream has an entry where it may not be: {0}")]
    Path(#[from] PathError),
    /// A path that comes a second time, or too late.
    #[error("the tree stream has {path} twice or out of order")]
    Order {
        /// The path, printable.
        path: String,
    },
    /// A path below something that is no folder of the tree.
    #[error("the tree stream has {path}, which lies in no folder that came before it")]
    Parent {
        /// The path, printable.
        path: String,
    },
    /// A link that could lead out of the tree.
    #[error("the tree stream has a link that may lead out of the tree: {path} to {target}")]
    LeadsOut {
        /// The path, printable.
        path: String,
        /// The target, printable.
        target: String,
    },
    /// A further name of something that did not come before it.
    #[error("the tree stream has a hard link to what did not come before it: {path} to {target}")]
    TooEarly {
        /// The path, printable.
        path: String,
        /// The target, printable.
        target: String,
    },
    /// An attribute that may not be in a tree.
    #[error("the tree stream has the attribute {name}, which is not taken")]
    Attribute {
        /// Its name, printable.
        name: String,
    },
    /// Attributes that belong to nothing, or more of them or of remarks than are allowed.
    #[error("the tree stream has {what}")]
    Misplaced {
        /// A description of what is misplaced.
        what: &'static str,
    },
    /// A file status that does not exist.
    #[error("the tree stream has a file of the unknown status {code}")]
    Status {
        /// The status given.
        code: u8,
    },
    /// The counts at the end are not those of the entries.
    #[error("the tree stream tells of {told:?} at its end, and had {had:?}")]
    Counts {
        /// The counts that the stream states at its end.
        told: Counts,
        /// The counts of the entries that were read.
        had: Counts,
    },
    /// Bytes after the end.
    #[error("the tree stream goes on after its end")]
    Trailing,
    /// No end.
    #[error("the tree stream breaks off")]
    Truncated,
}

/// Decodes a tree stream. Sans-I/O: feed it with [`next`](Self::next), ask [`finish`](Self::finish)
/// when there is no more.
#[derive(Debug)]
pub struct TreeReader {
    state: State,
    pending: Vec<u8>,
    counts: Counts,
    last: Option<TreePath>,
    open: Vec<u8>,
    root_allowed: bool,
    /// Number and bytes of the attributes of the entry that comes next.
    attributes: (usize, usize),
    remarks: usize,
    /// Entries that could not be read, and the bytes of their paths.
    unread: (usize, usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Magic,
    Kind,
    Head,
    Names(Head),
    Content(u64),
    Status,
    Counts,
    Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    kind: u8,
    mode: u32,
    mtime: i64,
    size: u64,
    path: usize,
}

impl Default for TreeReader {
    fn default() -> Self {
        Self::new()
    }
}

impl TreeReader {
    /// A reader at the start of a stream.
    pub fn new() -> Self {
        Self {
            state: State::Magic,
            pending: Vec::new(),
            counts: Counts::default(),
            last: None,
            open: Vec::new(),
            root_allowed: true,
            attributes: (0, 0),
            remarks: 0,
            unread: (0, 0),
        }
    }

    /// Takes from the front of `input` and tells what that was; `None` once `input` is used up.
    /// After an error it is not to be called again.
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Event<'a>>, TreeError> {
        loop {
            let state = self.state;
            let event = match state {
                State::Content(left) if left > 0 => return Ok(self.content(left, input)),
                State::Content(_) => {
                    self.state = State::Status;
                    continue;
                }
                State::Ended if input.is_empty() => return Ok(None),
                State::Ended => return Err(TreeError::Trailing),
                _ if !self.gather(state.needs(), input) => return Ok(None),
                State::Magic => self.magic()?,
                State::Kind => self.kind(),
                State::Head => self.head()?,
                State::Names(head) if head.kind == ATTRIBUTE => Some(self.attribute(head)?),
                State::Names(head) if head.kind == REMARK => Some(self.remark()?),
                State::Names(head) if head.kind == UNREAD_ENTRY => Some(self.unread()?),
                State::Names(head) => Some(Event::Entry(self.entry(head)?)),
                State::Status => Some(Event::FileEnd(self.status()?)),
                State::Counts => Some(Event::End(self.end()?)),
            };
            if event.is_some() {
                return Ok(event);
            }
        }
    }

    /// There is no more input: whether the stream was whole.
    pub fn finish(&self) -> Result<Counts, TreeError> {
        if self.state == State::Ended { Ok(self.counts) } else { Err(TreeError::Truncated) }
    }

    /// Moves bytes to `pending` until it has `needed`, and tells whether it has.
    fn gather(&mut self, needed: usize, input: &mut &[u8]) -> bool {
        let count = needed.saturating_sub(self.pending.len()).min(input.len());
        let (taken, rest) = input.split_at(count);
        self.pending.extend_from_slice(taken);
        *input = rest;
        self.pending.len() >= needed
    }

    fn content<'a>(&mut self, left: u64, input: &mut &'a [u8]) -> Option<Event<'a>> {
        if input.is_empty() {
            return None;
        }
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
        let (taken, rest) = input.split_at(count);
        *input = rest;
        self.state = State::Content(left - count as u64);
        Some(Event::Content(taken))
    }

    fn magic(&mut self) -> Result<Option<Event<'static>>, TreeError> {
        if self.pending != MAGIC {
            return Err(TreeError::Magic);
        }
        self.advance(State::Kind);
        Ok(None)
    }

    /// The first byte tells how many follow; it stays pending, as part of them.
    fn kind(&mut self) -> Option<Event<'static>> {
        self.state = if self.pending[0] == END { State::Counts } else { State::Head };
        None
    }

    fn head(&mut self) -> Result<Option<Event<'static>>, TreeError> {
        let mut fields = Fields(&self.pending);
        let head = Head {
            kind: fields.take::<1>()[0],
            mode: u32::from_le_bytes(fields.take()),
            mtime: i64::from_le_bytes(fields.take()),
            size: u64::from_le_bytes(fields.take()),
            path: usize::from(u16::from_le_bytes(fields.take())),
        };
        head.check()?;
        self.advance(State::Names(head));
        Ok(None)
    }

    fn entry(&mut self, head: Head) -> Result<Entry, TreeError> {
        let Head { kind, mode, mtime, size, .. } = head;
        if std::mem::take(&mut self.attributes).0 > 0 && !matches!(kind, ROOT | FOLDER | FILE) {
            return Err(TreeError::Misplaced { what: "attributes of a link" });
        }
        let root_allowed = std::mem::replace(&mut self.root_allowed, false);
        if kind == ROOT {
            self.advance(State::Kind);
            return if root_allowed {
                Ok(Entry::Root { mode, mtime })
            } else {
                Err(TreeError::Order { path: "its root".into() })
            };
        }
        let target = self.pending.split_off(head.path);
        let path = TreePath::new(std::mem::take(&mut self.pending))?;
        self.place(&path, kind == FOLDER)?;
        self.advance(if kind == FILE { State::Content(size) } else { State::Kind });
        match kind {
            FOLDER => {
                self.counts.folders += 1;
                Ok(Entry::Folder { path, mode, mtime })
            }
            FILE => Ok(Entry::File { path, mode, mtime, size }),
            HARD_LINK => {
                let target = TreePath::new(target)?;
                if target >= path {
                    return Err(TreeError::TooEarly {
                        path: path.to_string(),
                        target: target.to_string(),
                    });
                }
                self.counts.files += 1;
                Ok(Entry::HardLink { path, target })
            }
            OUTWARD_LINK if leads_somewhere(&target) => {
                self.counts.links += 1;
                Ok(Entry::OutwardLink { path, mtime, target })
            }
            _ if confined(&target, path.depth()) => {
                self.counts.links += 1;
                Ok(Entry::Link { path, mtime, target })
            }
            _ => Err(TreeError::LeadsOut { path: path.to_string(), target: printable(&target) }),
        }
    }

    fn attribute(&mut self, head: Head) -> Result<Event<'static>, TreeError> {
        let value = self.pending.split_off(head.path);
        let name = std::mem::take(&mut self.pending);
        if !may_travel(&name) {
            return Err(TreeError::Attribute { name: printable(&name) });
        }
        self.attributes = (self.attributes.0 + 1, self.attributes.1 + name.len() + value.len());
        if self.attributes.0 > ATTRIBUTES || self.attributes.1 > ATTRIBUTE_BYTES {
            return Err(TreeError::Misplaced {
                what: "more attributes of an entry than are taken",
            });
        }
        self.advance(State::Kind);
        Ok(Event::Attribute { name, value })
    }

    fn remark(&mut self) -> Result<Event<'static>, TreeError> {
        self.remarks += 1;
        if self.remarks > REMARKS || self.attributes.0 > 0 {
            return Err(TreeError::Misplaced {
                what: "more remarks than are taken, or one between an entry and its attributes",
            });
        }
        let text = printable(&self.pending);
        self.advance(State::Kind);
        Ok(Event::Remark(text))
    }

    fn unread(&mut self) -> Result<Event<'static>, TreeError> {
        self.unread = (self.unread.0 + 1, self.unread.1 + self.pending.len());
        if self.unread.0 > UNREAD || self.unread.1 > UNREAD_BYTES || self.attributes.0 > 0 {
            return Err(TreeError::Misplaced {
                what: "more unread entries than are taken, or one between an entry and its \
                       attributes",
            });
        }
        let path = std::mem::take(&mut self.pending);
        let path = if path.is_empty() { None } else { Some(TreePath::new(path)?) };
        self.advance(State::Kind);
        Ok(Event::Unread(path))
    }

    /// Checks that `path` comes in order and lies in an open folder.
    fn place(&mut self, path: &TreePath, folder: bool) -> Result<(), TreeError> {
        if self.last.as_ref().is_some_and(|last| path <= last) {
            return Err(TreeError::Order { path: path.to_string() });
        }
        let parent = path.parent();
        let inside = self
            .open
            .strip_prefix(parent)
            .is_some_and(|rest| rest.is_empty() || parent.is_empty() || rest[0] == b'/');
        if !inside {
            return Err(TreeError::Parent { path: path.to_string() });
        }
        self.open = if folder { path.as_bytes() } else { parent }.to_vec();
        self.last = Some(path.clone());
        Ok(())
    }

    fn status(&mut self) -> Result<FileStatus, TreeError> {
        let code = self.pending[0];
        let status = FileStatus::from_code(code).ok_or(TreeError::Status { code })?;
        match status {
            FileStatus::Complete => self.counts.files += 1,
            _ => self.counts.skipped += 1,
        }
        self.advance(State::Kind);
        Ok(status)
    }

    fn end(&mut self) -> Result<Counts, TreeError> {
        if self.attributes.0 > 0 {
            return Err(TreeError::Misplaced { what: "attributes of nothing" });
        }
        let mut fields = Fields(&self.pending[1..]);
        let [folders, files, links, skipped] =
            std::array::from_fn(|_| u64::from_le_bytes(fields.take()));
        let (told, had) = (Counts { folders, files, links, skipped }, self.counts);
        // What the sender left out without an entry is known to it alone.
        if skipped < had.skipped || told != (Counts { skipped, ..had }) {
            return Err(TreeError::Counts { told, had });
        }
        self.counts = told;
        self.advance(State::Ended);
        Ok(told)
    }

    fn advance(&mut self, state: State) {
        self.pending.clear();
        self.state = state;
    }
}

impl State {
    /// The number of bytes that have to be pending before this state can be left.
    fn needs(self) -> usize {
        match self {
            Self::Magic => MAGIC.len(),
            Self::Kind | Self::Status => 1,
            Self::Head => HEAD,
            Self::Names(head) => head.path + head.target(),
            Self::Counts => 1 + COUNTS,
            Self::Content(_) | Self::Ended => 0,
        }
    }
}

impl Head {
    fn check(&self) -> Result<(), TreeError> {
        let impossible = |field| Err(TreeError::Field { kind: self.kind, field });
        match self.kind {
            ROOT | FOLDER | UNREAD_ENTRY if self.size != 0 => impossible("size"),
            LINK | HARD_LINK | OUTWARD_LINK if self.size > PATH_LIMIT as u64 => {
                impossible("length of the target")
            }
            ATTRIBUTE if self.size > ATTRIBUTE_BYTES as u64 => impossible("length of the value"),
            REMARK if self.size > REMARK_BYTES as u64 => impossible("length of the text"),
            LINK | HARD_LINK | OUTWARD_LINK | ATTRIBUTE | REMARK | UNREAD_ENTRY
                if self.mode != 0 =>
            {
                impossible("mode")
            }
            HARD_LINK | ATTRIBUTE | REMARK | UNREAD_ENTRY if self.mtime != 0 => impossible("time"),
            ROOT | REMARK if self.path != 0 => impossible("path"),
            FOLDER | FILE | LINK | HARD_LINK | OUTWARD_LINK | ATTRIBUTE | UNREAD_ENTRY
                if self.path > PATH_LIMIT =>
            {
                Err(PathError::TooLong { given: self.path }.into())
            }
            ROOT | FOLDER | FILE | LINK | HARD_LINK | OUTWARD_LINK | ATTRIBUTE | REMARK
            | UNREAD_ENTRY => Ok(()),
            kind => Err(TreeError::Kind { kind }),
        }
    }

    /// Bytes behind the path that belong to the entry itself.
    fn target(&self) -> usize {
        if matches!(self.kind, ROOT | FOLDER | FILE) { 0 } else { self.size as usize }
    }
}

/// Cuts fixed fields off the front of bytes that are known to be long enough.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (field, rest) =
            self.0.split_first_chunk().expect("as many bytes were gathered as the fields have");
        self.0 = rest;
        *field
    }
}
