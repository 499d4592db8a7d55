//! How clients reach the verbs of the [service](crate::service): a file for each protocol.

pub(crate) mod acceptor;
pub(crate) mod http;
pub(crate) mod line;
