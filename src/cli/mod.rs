//! What users say and what they are told: flags ([`args`], [`values`]) and the status on standard error ([`status`]).

pub mod args;
pub mod values;
