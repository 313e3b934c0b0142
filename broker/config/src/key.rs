//! What is known about one configuration key, and the small language in which the tables are
//! written: `long("log.retention.ms").high().dynamic().applied("...")`.

use crate::validator::Validator;

/// Type of a value; `wire` is the number that `DescribeConfigs` answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyType {
    Boolean = 1,
    String = 2,
    Int = 3,
    Short = 4,
    Long = 5,
    Double = 6,
    List = 7,
    Class = 8,
    Password = 9,
}

impl KeyType {
    pub fn wire(self) -> i8 {
        self as i8
    }

    /// Kafka's name of the type, as it stands in its error messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Boolean => "BOOLEAN",
            Self::String => "STRING",
            Self::Int => "INT",
            Self::Short => "SHORT",
            Self::Long => "LONG",
            Self::Double => "DOUBLE",
            Self::List => "LIST",
            Self::Class => "CLASS",
            Self::Password => "PASSWORD",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Importance {
    Low,
    Medium,
    High,
}

/// What a key does in Millrace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// The value is used.
    Applied,
    /// The value is accepted, shown and not used; the sentence says why.
    NoEffect(&'static str),
    /// Starting with any other value than the default would weaken what the operator asked for
    /// (an authoriser that is not there), so the node does not start.
    Refused(&'static str),
}

/// One key: Kafka's facts and our meaning.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    pub name: &'static str,
    pub key_type: KeyType,
    /// Text of the default; `None` is Kafka's null.
    pub default: Option<&'static str>,
    /// The key has no default and must be given.
    pub required: bool,
    pub validator: Option<Validator>,
    pub importance: Importance,
    /// Alterable while the node runs (Kafka's per-broker or cluster-wide dynamic configs).
    pub dynamic: bool,
    /// Not shown by `DescribeConfigs`.
    pub internal: bool,
    pub meaning: Meaning,
    /// One or two sentences; for keys without effect the reason.
    pub doc: &'static str,
}

impl Key {
    pub const fn new(name: &'static str, key_type: KeyType) -> Key {
        Key {
            name,
            key_type,
            default: None,
            required: false,
            validator: None,
            importance: Importance::Medium,
            dynamic: false,
            internal: false,
            meaning: Meaning::Applied,
            doc: "",
        }
    }

    pub const fn default(mut self, text: &'static str) -> Key {
        self.default = Some(text);
        self
    }

    pub const fn required(mut self) -> Key {
        self.required = true;
        self
    }

    pub const fn valid(mut self, validator: Validator) -> Key {
        self.validator = Some(validator);
        self
    }

    pub const fn high(mut self) -> Key {
        self.importance = Importance::High;
        self
    }

    pub const fn low(mut self) -> Key {
        self.importance = Importance::Low;
        self
    }

    pub const fn dynamic(mut self) -> Key {
        self.dynamic = true;
        self
    }

    pub const fn internal(mut self) -> Key {
        self.internal = true;
        self
    }

    pub const fn applied(mut self, doc: &'static str) -> Key {
        self.doc = doc;
        self
    }

    pub const fn no_effect(mut self, reason: &'static str) -> Key {
        self.meaning = Meaning::NoEffect(reason);
        self.doc = reason;
        self
    }

    pub const fn refused(mut self, reason: &'static str) -> Key {
        self.meaning = Meaning::Refused(reason);
        self.doc = reason;
        self
    }

    /// Values of such keys are never shown.
    pub fn is_sensitive(&self) -> bool {
        self.key_type == KeyType::Password
    }
}

macro_rules! constructors {
    ($($name:ident => $kind:ident),* $(,)?) => {
        $(pub const fn $name(name: &'static str) -> Key {
            Key::new(name, KeyType::$kind)
        })*
    };
}

constructors! {
    boolean => Boolean, string => String, int => Int, short => Short, long => Long,
    double => Double, list => List, class => Class, password => Password,
}
