//! The two halves of the connection's task, for the loop all connections share.

use super::ClientError;
use super::link::{Link, refused};
use crate::protocol::openwire::codec::{Decoder, WireError};
use crate::protocol::openwire::command::{
    Command, ExceptionResponse, KeepAliveInfo, MessageDispatch,
};
use crate::protocol::openwire::negotiation::{Agreement, Offer, negotiate};
use crate::protocol::{Egress, Ended, Ingress, Liveness};
use crate::transport::WriteBuffer;
use bytes::Bytes;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::oneshot;

/// Reads what the broker sends.
pub(super) struct ClientIngress {
    link: Arc<Link>,
    decoder: Decoder,
    offer: Offer,
    /// Told what was agreed; none once that is done.
    negotiated: Option<oneshot::Sender<Agreement>>,
    answers: Vec<(i32, Result<Command, ClientError>)>,
    dispatches: Vec<MessageDispatch>,
}

/// Writes what is in the buffer.
pub(super) struct ClientEgress {
    link: Arc<Link>,
}

fn fault(error: WireError) -> Ended {
    Ended::Protocol(error.to_string())
}

impl ClientIngress {
    pub(super) fn new(
        link: Arc<Link>,
        offer: Offer,
        negotiated: oneshot::Sender<Agreement>,
    ) -> Self {
        Self {
            link,
            decoder: Decoder::new(u64::MAX),
            offer,
            negotiated: Some(negotiated),
            answers: Vec::new(),
            dispatches: Vec::new(),
        }
    }

    fn command(&mut self, command: Command) -> Result<(), Ended> {
        match command {
            Command::MessageDispatch(dispatch) => self.dispatches.push(dispatch),
            Command::Response(ref response) => {
                let id = response.correlation_id;
                self.answers.push((id, Ok(command)));
            }
            Command::IntegerResponse(ref response) => {
                let id = response.correlation_id;
                self.answers.push((id, Ok(command)));
            }
            Command::DataResponse(ref response) => {
                let id = response.correlation_id;
                self.answers.push((id, Ok(command)));
            }
            Command::DataArrayResponse(ref response) => {
                let id = response.correlation_id;
                self.answers.push((id, Ok(command)));
            }
            Command::ExceptionResponse(response) => {
                let ExceptionResponse { correlation_id, exception, .. } = response;
                self.answers.push((correlation_id, Err(refused(exception))));
            }
            Command::KeepAliveInfo(info) if info.response_required => {
                let answer = KeepAliveInfo { response_required: false, ..info };
                self.link.put_own(&answer.into()).map_err(fault)?;
            }
            Command::KeepAliveInfo(_) => {}
            Command::WireFormatInfo(theirs) => {
                let Some(negotiated) = self.negotiated.take() else {
                    return Err(Ended::Protocol("a second WireFormatInfo came".into()));
                };
                let theirs = Offer::from_wire(&theirs).map_err(fault)?;
                let agreement = negotiate(&self.offer, &theirs, 1).map_err(fault)?;
                self.decoder.apply(&agreement.settings);
                self.link.negotiated(&agreement);
                // Whoever opened the connection may have given up.
                negotiated.send(agreement).ok();
            }
            Command::ShutdownInfo(_) => return Err(Ended::Goodbye),
            other => self.link.told(other),
        }
        Ok(())
    }
}

impl Ingress for ClientIngress {
    fn frame_length(&self, input: &[u8]) -> Result<Option<usize>, Ended> {
        self.decoder.frame_length(input).map_err(fault)
    }

    fn frame(&mut self, frame: &[u8], shared: Option<&Bytes>) -> Result<bool, Ended> {
        if let Some(command) = self.decoder.decode(frame, shared).map_err(fault)? {
            self.command(command)?;
        }
        Ok(true)
    }

    fn established(&self) -> bool {
        self.negotiated.is_none()
    }

    async fn handle(&mut self) -> Result<(), Ended> {
        self.link.answered(&mut self.answers);
        self.link.dispatched(&mut self.dispatches);
        Ok(())
    }

    async fn close(&mut self) {}
}

impl ClientEgress {
    pub(super) fn new(link: Arc<Link>) -> Self {
        Self { link }
    }
}

impl Egress for ClientEgress {
    fn poll_take(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.link.poll_buffer(cx)
    }

    fn encode(&mut self, out: &mut WriteBuffer) -> Result<(), Ended> {
        self.link.take_buffer(out);
        Ok(())
    }

    fn keep_alive(&mut self, out: &mut WriteBuffer) -> Result<(), Ended> {
        self.link.put_own(&KeepAliveInfo::default().into()).map_err(fault)?;
        self.encode(out)
    }

    fn liveness(&self) -> Option<Liveness> {
        self.link.liveness()
    }
}
