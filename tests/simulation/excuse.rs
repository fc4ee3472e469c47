//! Why a line may be missing or repeated: every excuse names the sentence of README.md that it rests on.
//!
//! *Invariant:* an excuse whose sentence README.md does not have is listed as unfounded, and is withdrawn in the
//! worlds that are built to show what it covers.

/// One reason to let a line go, or to let it come twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Excuse {
    /// The file was truncated before the line was read.
    CutOff,
    /// The file was unlinked before a survey showed it.
    BetweenTwoLooks,
    /// The file was unlinked while no process ran.
    DeletedWhileDown,
    /// The file had no name any more when the process ended.
    StoppedBeforeRead,
    /// The line was in memory alone when the process ended.
    OnlyInMemory,
    /// The engine gave the file up after a day, or because its disk was nearly full.
    GivenUp,
    /// The source was left out of the configuration, and the file lost its name meanwhile.
    LeftOut,
    /// The file was there at the first start of a source that starts at the end.
    StartedAtEnd,
    /// The process was killed, and the line comes again.
    AfterCrash,
    /// The process was killed while a line waited that stands in parts around this one, or within it.
    Entwined,
    /// The service took the line, and its answer was lost.
    AnswerLost,
    /// A copy that was found late is read as a file of its own.
    InDoubt,
    /// The rest of a cut line of a container comes as a line.
    RestOfCutLine,
    /// The file was renamed before the engine knew of it, or while no process ran, to a name that says nothing.
    RenamedUnseen,
    /// The file was renamed before anybody saw it, and an older one took its name back.
    ElderBack,
    /// The file was renamed before anybody saw it, and nothing tells how old it is.
    Ageless,
    /// The file had a rotator's name before its source was looked at for the first time.
    BeforeFirstLook,
    /// A survey showed the file, and it was unlinked before it was opened.
    SeenAndDeleted,
    /// The file was closed for others, and was unlinked with lines that came since.
    ClosedAndDeleted,
    /// The file was truncated before anything of it was read, and a copy lies beside it.
    CopyNotSought,
    /// The file was cut off and filled anew with the bytes that it had.
    SameBytes,
}

/// What an excuse rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// A sentence of README.md, word for word but for line breaks.
    Readme(&'static str),
    /// A sentence of config.example.toml.
    Example(&'static str),
    /// Nothing that users were told.
    Nothing,
}

impl Excuse {
    pub const ALL: [Self; 21] = [
        Self::CutOff,
        Self::BetweenTwoLooks,
        Self::DeletedWhileDown,
        Self::StoppedBeforeRead,
        Self::OnlyInMemory,
        Self::GivenUp,
        Self::LeftOut,
        Self::StartedAtEnd,
        Self::AfterCrash,
        Self::Entwined,
        Self::AnswerLost,
        Self::InDoubt,
        Self::RestOfCutLine,
        Self::RenamedUnseen,
        Self::ElderBack,
        Self::Ageless,
        Self::BeforeFirstLook,
        Self::SeenAndDeleted,
        Self::ClosedAndDeleted,
        Self::CopyNotSought,
        Self::SameBytes,
    ];

    /// The sentence that allows the excuse.
    pub const fn basis(self) -> Basis {
        Basis::Readme(match self {
            Self::CutOff => {
                "What was cut off unread is read in the copy, and where no copy is found it is reported as lost."
            }
            Self::BetweenTwoLooks => "a file that is created and deleted between two looks;",
            Self::DeletedWhileDown => {
                "a file that is deleted, or moved out of its directory and out of every pattern, while standpipe is \
                 not running, with lines unread."
            }
            Self::StoppedBeforeRead => {
                "A file that is deleted while standpipe runs stays open until it is read and delivered; stopping \
                 before that loses the rest."
            }
            Self::OnlyInMemory => {
                "So a crash, `kill -9` or a power cut loses nothing that is still in a file."
            }
            Self::GivenUp => {
                "After a day, or when the disk has less than 2 % left (then first the one that takes the most room, \
                 never one that takes none), what is unread of one is given up, reported and counted"
            }
            Self::LeftOut => {
                "sources and streams come, change and go, and no position or record under way is lost."
            }
            Self::StartedAtEnd => {
                return Basis::Example(
                    "where to begin in files that are already there at the very first start.",
                );
            }
            Self::AfterCrash => {
                "After a crash these are sent again: the records that were under way, and what was acknowledged since \
                 the last checkpoint"
            }
            Self::Entwined => {
                "A line that stands between the parts of another, where a container wrote on both channels at once, is \
                 done when both are."
            }
            Self::AnswerLost => {
                "Without a crash a line arrives twice only when the service took it and the answer was lost"
            }
            Self::InDoubt => "In doubt a file is read from its beginning: duplicates beat loss.",
            Self::RestOfCutLine => "what follows can come as a line of its own.",
            Self::RenamedUnseen => {
                "a file that is renamed, before anybody saw it, to a name that neither a source matches nor a rotator \
                 makes;"
            }
            Self::ElderBack => {
                "a file that was rotated away before anybody saw it, and whose name an older file took back: beside \
                 that one it looks like a copy;"
            }
            Self::BeforeFirstLook => {
                "a file that had a rotator's name before its source was looked at for the first time;"
            }
            Self::Ageless => "and a generation that was rotated away unseen is not found.",
            Self::SeenAndDeleted | Self::ClosedAndDeleted => {
                "a file that is deleted after it was seen and before it could be opened, or with lines that came while it \
                 was closed for want of descriptors: both are reported, as lost or as gone;"
            }
            Self::SameBytes => {
                "a file that is cut off and filled anew with the very bytes that were read of it, and perhaps more: that is \
                 taken for the file that it was."
            }
            Self::CopyNotSought => return Basis::Nothing,
        })
    }
}

/// Excuses of what README.md does not except: faults that the older worlds let pass.
pub const UNFOUNDED: [Excuse; 1] = [Excuse::CopyNotSought];

#[test]
fn every_excuse_rests_on_a_sentence_of_the_readme_or_is_listed_as_unfounded() {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let readme = words(include_str!("../../README.md"));
    let example = words(include_str!("../../config.example.toml"));
    for excuse in Excuse::ALL {
        match excuse.basis() {
            Basis::Readme(sentence) => {
                assert!(readme.contains(&words(sentence)), "{excuse:?}: README.md does not say: {sentence}");
            }
            Basis::Example(sentence) => assert!(example.contains(sentence), "{excuse:?}: {sentence}"),
            Basis::Nothing => assert!(UNFOUNDED.contains(&excuse), "{excuse:?} rests on nothing"),
        }
    }
}
