//! Who may use an embedded delivery stream, and what for.
//!
//! Values only. Made by whoever starts a server, kept to by `doors` and `http`.

use super::auth::Keys;

/// Who may use a server. The default is for tests: whoever reaches the port, with any signature.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// What requests have to be signed with, those to the control paths, too; `None` accepts any signature.
    pub keys: Option<Keys>,
    /// Names of hosts by which a server on loopback may be asked, beside addresses and `localhost`.
    pub hosts: Vec<String>,
    /// Whether there are paths that show statistics and make faults.
    pub control: Control,
}

/// Whether there are control paths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Control {
    #[default]
    Served,
    Absent,
}

impl Access {
    /// For nobody but who has these keys, and for puts alone.
    pub fn private(keys: Keys) -> Self {
        Self { keys: Some(keys), hosts: Vec::new(), control: Control::Absent }
    }
}
