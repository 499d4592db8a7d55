//! The sockets of this server: tokio's.
//!
//! Nothing else names a socket type. So the same code also runs where these names stand for the
//! sockets of a simulated network (`crates/wherd-turmoil`).

use rustix::net::RecvFlags;
use rustix::net::sockopt::set_socket_send_buffer_size;
use std::io;
pub(crate) use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
pub(crate) use tokio::net::{TcpListener, TcpStream};

/// Makes room for so many connections that wait to be accepted.
pub(crate) fn set_queue_count(listener: &TcpListener, count: i32) {
    // It listens already; saying it again only makes the queue longer, and a system that does not
    // know that leaves it as it was.
    let _ = rustix::net::listen(listener, count);
}

/// Bounds what may wait in the system for each of a listener's connections.
pub(crate) fn set_waiting_bytes(listener: &TcpListener, bytes: usize) {
    // Each connection has it of the listener, and a system that refuses it leaves it as it was.
    let _ = set_socket_send_buffer_size(listener, bytes);
}

/// Reads what has arrived, without waiting: what the system has, where `try_read` knows only what
/// the runtime has heard of by now.
pub(crate) fn read_arrived(stream: &mut TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    let (count, _) = rustix::net::recv(stream, buffer, RecvFlags::DONTWAIT)?;
    Ok(count)
}

/// Serves a listener on a thread and a runtime of its own, so that nothing else can keep it.
pub(crate) async fn serve_apart<F: Future<Output = ()> + Send>(
    name: &str,
    listener: TcpListener,
    serve: impl FnOnce(TcpListener) -> F + Send + 'static,
) -> io::Result<()> {
    let listener = listener.into_std()?;
    let (end, ended) = tokio::sync::oneshot::channel();
    let run = move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            serve(TcpListener::from_std(listener)?).await;
            Ok(())
        })
    };
    // Nobody is there to hear it after the end of the server.
    let thread = move || drop(end.send(run()));
    std::thread::Builder::new()
        .name(name.into())
        .spawn(thread)?;
    ended
        .await
        .unwrap_or_else(|_| panic!("the thread for {name} has panicked"))
}
