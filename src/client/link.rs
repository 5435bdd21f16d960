//! What the connection's task shares with the objects of the application.
//!
//! Two locks, never one within the other: the sending side (encoder, buffer, open requests) and the
//! consumers.

use super::inbox::Inbox;
use super::{ClientError, Options};
use crate::jms::info::BrokerInfo;
use crate::jms::{ConsumerId, Message, Throwable};
use crate::protocol::Liveness;
use crate::protocol::openwire::codec::{Encoder, Settings, WireError};
use crate::protocol::openwire::command::{Command, MessageDispatch};
use crate::protocol::openwire::negotiation::Agreement;
use crate::transport::WriteBuffer;
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};

/// How many bytes may wait to be written before senders wait too.
const BUFFER_MAX: usize = 256 * 1024;

/// How many bytes are worth a write though there will be more.
const WRITE_BYTES: usize = 64 * 1024;

/// The same in a transaction: the sooner the broker has its messages, the sooner its commit is answered.
const TRANSACTED_WRITE_BYTES: usize = 16 * 1024;

/// How many unasked-for commands of the broker are kept; the oldest go.
const EVENTS_MAX: usize = 64;

type Answer = Result<Command, ClientError>;

/// The shared state of one connection.
#[derive(Debug)]
pub(super) struct Link {
    sending: Mutex<Sending>,
    /// Told when the buffer has been taken away or the connection has ended.
    room: Notify,
    receiving: Mutex<Receiving>,
    /// Told when there is a new event or the connection has ended.
    news: Notify,
    response_timeout: Option<Duration>,
}

#[derive(Debug)]
struct Sending {
    encoder: Encoder,
    buffer: WriteBuffer,
    /// The task, when it waits for something to write.
    waker: Option<Waker>,
    last_id: i32,
    requests: HashMap<i32, oneshot::Sender<Answer>>,
    liveness: Option<Liveness>,
    ended: Option<ClientError>,
}

#[derive(Debug, Default)]
struct Receiving {
    /// By the consumer id's last part, which is unique on a connection.
    inboxes: HashMap<i64, Arc<Inbox>>,
    events: VecDeque<Command>,
    broker: Option<Arc<BrokerInfo>>,
    ended: Option<ClientError>,
}

/// What goes out: commands are built for the occasion, messages belong to the application.
pub(super) enum Outgoing<'a> {
    Command(Command),
    Message(&'a mut Message),
}

impl Outgoing<'_> {
    /// How many bytes behind it are worth a write.
    fn write_bytes(&self) -> usize {
        match self {
            Self::Message(message) if message.transaction_id.is_some() => TRANSACTED_WRITE_BYTES,
            Self::Message(_) | Self::Command(_) => WRITE_BYTES,
        }
    }

    fn encode(
        &mut self,
        id: i32,
        request: bool,
        encoder: &mut Encoder,
        out: &mut WriteBuffer,
    ) -> Result<(), WireError> {
        match self {
            Self::Command(command) => {
                command.set_command_id(id);
                command.set_response_required(request);
                encoder.encode(command, out)
            }
            Self::Message(message) => {
                message.command_id = id;
                message.response_required = request;
                encoder.encode_message(message, out)
            }
        }
    }
}

/// What became of what was to be sent.
enum Put {
    /// It is in the buffer, which `is_due` to be written.
    Done { is_due: bool },
    /// The buffer is full.
    Full,
}

/// The broker's answer to a request, when it comes.
#[derive(Debug)]
pub struct Receipt {
    answer: oneshot::Receiver<Answer>,
    timeout: Option<Duration>,
}

impl Receipt {
    /// Waits for the answer.
    ///
    /// # Errors
    /// The broker's refusal, the end of the connection, or no answer within the time the connection's
    /// options allow.
    pub async fn done(self) -> Result<(), ClientError> {
        self.answer().await.map(drop)
    }

    pub(super) async fn answer(self) -> Answer {
        let answer = match self.timeout {
            None => self.answer.await,
            Some(limit) => tokio::time::timeout(limit, self.answer)
                .await
                .map_err(|_| ClientError::Timeout(limit))?,
        };
        answer.map_err(|_| ClientError::Closed)?
    }
}

impl Link {
    pub(super) fn new(options: &Options) -> Self {
        let sending = Sending {
            encoder: Encoder::new(&Settings::before_negotiation(u64::MAX)),
            buffer: WriteBuffer::default(),
            waker: None,
            last_id: 0,
            requests: HashMap::new(),
            liveness: None,
            ended: None,
        };
        Self {
            sending: Mutex::new(sending),
            room: Notify::new(),
            receiving: Mutex::default(),
            news: Notify::new(),
            response_timeout: options.response_timeout,
        }
    }

    /// Sends without waiting for an answer.
    pub(super) async fn tell(&self, mut outgoing: Outgoing<'_>) -> Result<(), ClientError> {
        loop {
            match self.put(&mut outgoing, None)? {
                Put::Full => self.wait_for_room().await,
                Put::Done { is_due } => {
                    if is_due {
                        // The task may be one of this thread, which only runs when the sender lets it.
                        tokio::task::yield_now().await;
                    }
                    return Ok(());
                }
            }
        }
    }

    /// Sends; the receipt brings the answer.
    pub(super) async fn submit(&self, mut outgoing: Outgoing<'_>) -> Result<Receipt, ClientError> {
        let (sender, answer) = oneshot::channel();
        let mut sender = Some(sender);
        while let Put::Full = self.put(&mut outgoing, Some(&mut sender))? {
            self.wait_for_room().await;
        }
        Ok(Receipt { answer, timeout: self.response_timeout })
    }

    /// Sends and waits for the answer.
    pub(super) async fn request(&self, command: impl Into<Command>) -> Answer {
        self.submit(Outgoing::Command(command.into())).await?.answer().await
    }

    /// Encodes into the buffer, unless it is full.
    fn put(
        &self,
        outgoing: &mut Outgoing<'_>,
        request: Option<&mut Option<oneshot::Sender<Answer>>>,
    ) -> Result<Put, ClientError> {
        let (waker, is_due) = {
            let mut sending = self.sending.lock();
            let sending = &mut *sending;
            if let Some(error) = &sending.ended {
                return Err(error.clone());
            }
            let before = sending.buffer.len();
            if before >= BUFFER_MAX {
                return Ok(Put::Full);
            }
            let id = sending.last_id.wrapping_add(1);
            let asked = request.is_some();
            outgoing.encode(id, asked, &mut sending.encoder, &mut sending.buffer)?;
            sending.last_id = id;
            if let Some(sender) = request.and_then(Option::take) {
                sending.requests.insert(id, sender);
            }
            let piece = outgoing.write_bytes();
            let is_due = before / piece < sending.buffer.len() / piece;
            (sending.waker.take(), is_due)
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(Put::Done { is_due })
    }

    async fn wait_for_room(&self) {
        let waiting = self.room.notified();
        let full = {
            let sending = self.sending.lock();
            sending.ended.is_none() && sending.buffer.len() >= BUFFER_MAX
        };
        // A notification between creation and the first poll of `waiting` counts.
        if full {
            waiting.await;
        }
    }

    /// Frames from here on are written as agreed.
    pub(super) fn negotiated(&self, agreement: &Agreement) {
        let mut sending = self.sending.lock();
        sending.encoder.apply(&agreement.settings);
        sending.liveness = agreement.max_inactivity.map(|read_check| {
            let few = Duration::from_millis(3);
            let write_check = if read_check > few { read_check / 3 } else { read_check };
            Liveness { initial_delay: agreement.initial_delay, read_check, write_check }
        });
    }

    pub(super) fn liveness(&self) -> Option<Liveness> {
        self.sending.lock().liveness
    }

    /// Appends a frame though the buffer may be full: the task's own.
    pub(super) fn put_own(&self, command: &Command) -> Result<(), WireError> {
        let mut sending = self.sending.lock();
        let sending = &mut *sending;
        sending.encoder.encode(command, &mut sending.buffer)?;
        if let Some(waker) = sending.waker.take() {
            waker.wake();
        }
        Ok(())
    }

    /// Pending until there is something to write.
    pub(super) fn poll_buffer(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut sending = self.sending.lock();
        if !sending.buffer.is_empty() {
            return Poll::Ready(());
        }
        if !sending.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            sending.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Moves all there is to write into `out`.
    pub(super) fn take_buffer(&self, out: &mut WriteBuffer) {
        {
            let mut sending = self.sending.lock();
            if out.is_empty() {
                std::mem::swap(out, &mut sending.buffer);
            } else {
                out.append_buffer(&mut sending.buffer);
            }
        }
        self.room.notify_waiters();
    }

    /// Hands over answers.
    pub(super) fn answered(&self, answers: &mut Vec<(i32, Answer)>) {
        if answers.is_empty() {
            return;
        }
        let mut sending = self.sending.lock();
        for (id, answer) in answers.drain(..) {
            if let Some(request) = sending.requests.remove(&id) {
                // Whoever asked may have lost interest.
                drop(request.send(answer));
            }
        }
    }

    /// Hands over dispatches, a run for one consumer at a time.
    pub(super) fn dispatched(&self, dispatches: &mut Vec<MessageDispatch>) {
        if dispatches.is_empty() {
            return;
        }
        let key = |dispatch: &MessageDispatch| dispatch.consumer_id.as_ref().map(|id| id.value);
        let receiving = self.receiving.lock();
        let mut coming = dispatches.drain(..).peekable();
        while let Some(consumer) = coming.peek().map(key) {
            let run = std::iter::from_fn(|| coming.next_if(|next| key(next) == consumer));
            match consumer.and_then(|consumer| receiving.inboxes.get(&consumer)) {
                Some(inbox) => inbox.extend(run),
                // Its consumer has just been closed.
                None => run.for_each(drop),
            }
        }
    }

    /// Keeps what the broker said unasked.
    pub(super) fn told(&self, command: Command) {
        {
            let mut receiving = self.receiving.lock();
            match &command {
                Command::BrokerInfo(info) => receiving.broker = Some(Arc::new((**info).clone())),
                Command::ConsumerControl(control) if control.close => {
                    let id = control.consumer_id.as_ref();
                    if let Some(inbox) = id.and_then(|id| receiving.inboxes.get(&id.value)) {
                        inbox.end(ClientError::ConsumerClosed);
                    }
                }
                _ => {}
            }
            if receiving.events.len() == EVENTS_MAX {
                receiving.events.pop_front();
            }
            receiving.events.push_back(command);
        }
        self.news.notify_waiters();
    }

    /// The next thing the broker said unasked.
    pub(super) async fn event(&self) -> Answer {
        loop {
            let waiting = self.news.notified();
            {
                let mut receiving = self.receiving.lock();
                if let Some(event) = receiving.events.pop_front() {
                    return Ok(event);
                }
                if let Some(error) = &receiving.ended {
                    return Err(error.clone());
                }
            }
            waiting.await;
        }
    }

    /// How the broker introduced itself.
    pub(super) fn broker(&self) -> Option<Arc<BrokerInfo>> {
        self.receiving.lock().broker.clone()
    }

    /// An inbox for a new consumer.
    pub(super) fn open_inbox(&self, id: &ConsumerId) -> Arc<Inbox> {
        let inbox = Arc::new(Inbox::default());
        let mut receiving = self.receiving.lock();
        if let Some(error) = &receiving.ended {
            inbox.end(error.clone());
        }
        receiving.inboxes.insert(id.value, Arc::clone(&inbox));
        inbox
    }

    pub(super) fn close_inbox(&self, id: &ConsumerId) {
        self.receiving.lock().inboxes.remove(&id.value);
    }

    /// The connection is over: everybody who waits is told. Only the first reason counts.
    pub(super) fn end(&self, error: &ClientError) {
        let requests = {
            let mut sending = self.sending.lock();
            if sending.ended.is_some() {
                return;
            }
            sending.ended = Some(error.clone());
            std::mem::take(&mut sending.requests)
        };
        for request in requests.into_values() {
            drop(request.send(Err(error.clone())));
        }
        self.room.notify_waiters();
        {
            let mut receiving = self.receiving.lock();
            receiving.ended = Some(error.clone());
            receiving.inboxes.values().for_each(|inbox| inbox.end(error.clone()));
        }
        self.news.notify_waiters();
    }

    /// Why the connection is over, if it is.
    pub(super) fn ended(&self) -> Option<ClientError> {
        self.sending.lock().ended.clone()
    }
}

/// The refusal that an exception from the broker is.
pub(super) fn refused(exception: Option<Throwable>) -> ClientError {
    let exception = exception.unwrap_or_default();
    ClientError::Refused {
        class: exception.class.unwrap_or_else(|| "java.lang.Throwable".into()),
        message: exception.message.unwrap_or_else(|| "".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::bytes_message;
    use crate::protocol::openwire::command::Response;
    use std::pin::pin;

    fn link() -> Link {
        Link::new(&Options::new("nowhere", 1))
    }

    #[test]
    fn senders_wait_until_a_full_buffer_is_taken_away() {
        let link = link();
        let mut large = bytes_message(vec![0; BUFFER_MAX]);
        let mut small = bytes_message("x");
        let mut cx = Context::from_waker(Waker::noop());
        let mut telling = pin!(link.tell(Outgoing::Message(&mut large)));
        assert!(telling.as_mut().poll(&mut cx).is_pending(), "the task may write");
        assert!(telling.poll(&mut cx).is_ready());
        let mut waiting = pin!(link.tell(Outgoing::Message(&mut small)));
        assert!(waiting.as_mut().poll(&mut cx).is_pending());
        let mut out = WriteBuffer::default();
        link.take_buffer(&mut out);
        assert!(out.len() > BUFFER_MAX && waiting.poll(&mut cx).is_ready());
    }

    #[test]
    fn each_answer_reaches_the_one_who_asked() {
        let link = link();
        let mut cx = Context::from_waker(Waker::noop());
        let mut ask = || {
            let mut message = bytes_message("x");
            let mut asking = pin!(link.submit(Outgoing::Message(&mut message)));
            let Poll::Ready(Ok(receipt)) = asking.as_mut().poll(&mut cx) else { panic!("room") };
            receipt
        };
        let (first, second, third) = (ask(), ask(), ask());
        let done = Response { correlation_id: 2, ..Response::default() };
        link.answered(&mut vec![
            (2, Ok(done.into())),
            (1, Err(refused(None))),
            (9, Err(refused(None))),
        ]);
        link.end(&ClientError::Closed);
        let mut outcome = |receipt: Receipt| match pin!(receipt.done()).poll(&mut cx) {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => panic!("no answer"),
        };
        assert!(matches!(outcome(first), Err(ClientError::Refused { .. })));
        assert!(outcome(second).is_ok());
        assert!(matches!(outcome(third), Err(ClientError::Closed)));
    }
}
