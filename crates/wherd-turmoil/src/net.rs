//! turmoil's sockets, with what the server needs of tokio's and turmoil does not have.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A listening socket.
pub(crate) struct TcpListener(turmoil::net::TcpListener);

impl TcpListener {
    /// Listens on a port of every address: a simulated host has one, and turmoil takes no name for
    /// it here.
    pub(crate) async fn bind((_, port): (&str, u16)) -> io::Result<Self> {
        let address = (Ipv4Addr::UNSPECIFIED, port);
        turmoil::net::TcpListener::bind(address).await.map(Self)
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    pub(crate) async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, address) = self.0.accept().await?;
        Ok((TcpStream(stream), address))
    }
}

/// A simulated listener has no queue that could be made longer.
pub(crate) const fn set_queue_count(_: &TcpListener, _: i32) {}

/// What waits in a simulated system is bounded by `Builder::tcp_capacity`.
pub(crate) const fn set_waiting_bytes(_: &TcpListener, _: usize) {}

/// Reads what has arrived, without waiting.
pub(crate) fn read_arrived(stream: &mut TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    stream.try_read(buffer)
}

/// Serves a listener. Everything of a simulated host runs in one thread.
pub(crate) async fn serve_apart<F: Future<Output = ()> + Send>(
    _: &str,
    listener: TcpListener,
    serve: impl FnOnce(TcpListener) -> F + Send + 'static,
) -> io::Result<()> {
    serve(listener).await;
    Ok(())
}

/// A connection.
pub(crate) struct TcpStream(turmoil::net::TcpStream);

impl TcpStream {
    pub(crate) async fn connect(address: (&str, u16)) -> io::Result<Self> {
        turmoil::net::TcpStream::connect(address).await.map(Self)
    }

    pub(crate) fn set_nodelay(&self, is_on: bool) -> io::Result<()> {
        self.0.set_nodelay(is_on)
    }

    pub(crate) fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.0.peer_addr()
    }

    pub(crate) fn poll_read_ready(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut byte = [0];
        let peeked = self.0.poll_peek(context, &mut ReadBuf::new(&mut byte));
        peeked.map_ok(|_| ())
    }

    /// Who waits for the socket to be readable waits again after this.
    pub(crate) fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut buffer = ReadBuf::new(buffer);
        let mut context = Context::from_waker(Waker::noop());
        match Pin::new(&mut self.0).poll_read(&mut context, &mut buffer) {
            Poll::Ready(read) => read.map(|()| buffer.filled().len()),
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// turmoil's owned halves cannot be written to without waiting, and its whole stream can: so
    /// the halves share one.
    pub(crate) fn into_split(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        let stream = Shared(Arc::new(Mutex::new(self.0)));
        (OwnedReadHalf(stream.clone()), OwnedWriteHalf(stream))
    }
}

impl AsyncRead for TcpStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for TcpStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

#[derive(Clone)]
struct Shared(Arc<Mutex<turmoil::net::TcpStream>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, turmoil::net::TcpStream> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The reading half of a connection.
pub(crate) struct OwnedReadHalf(Shared);

impl AsyncRead for OwnedReadHalf {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.lock()).poll_read(context, buffer)
    }
}

/// The writing half of a connection. Dropping it shuts the sending side.
pub(crate) struct OwnedWriteHalf(Shared);

impl OwnedWriteHalf {
    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().try_write(bytes)
    }

    pub(crate) async fn writable(&self) -> io::Result<()> {
        // turmoil's future keeps nothing from one poll to the next.
        std::future::poll_fn(|context| pin!(self.0.lock().writable()).poll(context)).await
    }
}

impl AsyncWrite for OwnedWriteHalf {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0.lock()).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.lock()).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.lock()).poll_shutdown(context)
    }
}

impl Drop for OwnedWriteHalf {
    fn drop(&mut self) {
        // A whole simulation that is dropped has no network any more.
        if turmoil::in_simulation() {
            let mut context = Context::from_waker(Waker::noop());
            // It may have been shut or reset before.
            let _ = Pin::new(&mut *self.0.lock()).poll_shutdown(&mut context);
        }
    }
}
