//! The parts of a world.

use crate::delivery::FailureKind;

/// The times that each fault may still happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::delivery::model_tests) struct Budget {
    pub(in crate::delivery::model_tests) cuts: u8,
    /// Links to a receiver that opens other suites than before.
    pub(in crate::delivery::model_tests) suites: u8,
    pub(in crate::delivery::model_tests) sender_crashes: u8,
    pub(in crate::delivery::model_tests) receiver_crashes: u8,
    pub(in crate::delivery::model_tests) stops: u8,
    pub(in crate::delivery::model_tests) sender_cancels: u8,
    pub(in crate::delivery::model_tests) receiver_cancels: u8,
    pub(in crate::delivery::model_tests) patience: u8,
    pub(in crate::delivery::model_tests) expiries: u8,
    pub(in crate::delivery::model_tests) changes: u8,
    pub(in crate::delivery::model_tests) refusals: u8,
    pub(in crate::delivery::model_tests) full_disks: u8,
    pub(in crate::delivery::model_tests) failed_notes: u8,
    pub(in crate::delivery::model_tests) pauses: u8,
    /// Whatever is offered to the receiver is refused before it is looked for.
    pub(in crate::delivery::model_tests) bars: u8,
}

/// The record of the sender's outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::delivery::model_tests) struct Record {
    pub(in crate::delivery::model_tests) tries: u32,
    /// The receiver may have it, and has not said so.
    pub(in crate::delivery::model_tests) unsure: bool,
    pub(in crate::delivery::model_tests) state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::delivery::model_tests) enum State {
    Stored,
    Delivered,
    /// For good; and whether the receiver said so.
    Dead(FailureKind, bool),
    /// Taken out; and whether it was said that it may be there.
    Removed {
        unsure: bool,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::delivery::model_tests) enum Word {
    Process(u8),
    Open { stream: u64, attempt: u32 },
    Accept { stream: u64, held: u8 },
    Rejected(u64, FailureKind),
    Failed(u64, FailureKind),
    Delivered(u64),
    Unknown(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Note {
    None,
    Part(u8),
    Intent,
}

/// The disk of the receiver, which survives its process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::delivery::model_tests) struct Disk {
    pub(super) note: Note,
    /// The file that is not renamed yet, and what is in it.
    pub(super) part: Option<u8>,
    pub(in crate::delivery::model_tests) remembered: bool,
}

impl Disk {
    /// Nothing of a delivery lies about.
    pub(in crate::delivery::model_tests) fn is_clean(&self) -> bool {
        self.note == Note::None && self.part.is_none()
    }
}
