//! The actor. It knows nothing of gRPC.

use std::collections::HashMap;
use std::time::SystemTime;

use actix::{Actor, Context, Handler};
use estafette::remote::{ActorError, Called};
use futures_util::StreamExt;

use crate::proto::google::protobuf::Empty;
use crate::proto::town::v1::guest::Stay;
use crate::proto::town::v1::{
    Enrolled, ForgetRequest, GreetReply, GreetRequest, Guest, Language, Line, LinesRequest, Said,
    Word,
};

/// Greets people.
#[derive(Debug)]
pub struct Greeter;

impl Actor for Greeter {
    type Context = Context<Self>;
}

impl Handler<GreetRequest> for Greeter {
    type Result = Result<GreetReply, ActorError>;

    fn handle(&mut self, request: GreetRequest, _: &mut Context<Self>) -> Self::Result {
        let hello = match request.language() {
            Language::Unspecified => "Hello",
            Language::French => "Bonjour",
            Language::German => "Guten Tag",
        };
        if request.name.is_empty() {
            return Err(ActorError::invalid_argument("whom? the name is empty"));
        }
        let text = format!("{hello} {}", request.name);
        Ok(GreetReply { text, at: Some(SystemTime::now().into()) })
    }
}

impl Handler<Called<LinesRequest>> for Greeter {
    type Result = ();

    fn handle(&mut self, mut called: Called<LinesRequest>, _: &mut Context<Self>) {
        actix::spawn(async move {
            let Some(Ok(LinesRequest { name, times })) = called.requests.next().await else {
                return;
            };
            for time in 1..=times {
                let text = format!("Bonjour {name}, for the {time}. time");
                // Waits for a client that reads slowly; an error means that it is gone.
                if called.replies.send(&Ok(Line { text })).await.is_err() {
                    return;
                }
            }
            called.replies.finish();
        });
    }
}

impl Handler<Called<Guest>> for Greeter {
    type Result = ();

    fn handle(&mut self, mut called: Called<Guest>, _: &mut Context<Self>) {
        actix::spawn(async move {
            let mut nights = HashMap::<_, u32>::new();
            while let Some(guest) = called.requests.next().await {
                // Guests of which not all came are not enrolled.
                let Ok(guest) = guest else { return };
                let stays = match guest.stay {
                    Some(Stay::Nights(nights)) => nights,
                    Some(Stay::Room(_)) | None => 1,
                };
                nights.insert(guest.name, stays);
            }
            let guests = nights.len().try_into().unwrap_or(u32::MAX);
            // An error means that the caller is gone.
            let _ = called.replies.send(&Ok(Enrolled { guests, nights })).await;
        });
    }
}

impl Handler<Called<Word>> for Greeter {
    type Result = ();

    fn handle(&mut self, mut called: Called<Word>, _: &mut Context<Self>) {
        actix::spawn(async move {
            while let Some(word) = called.requests.next().await {
                let Ok(Word { text }) = word else { return };
                let said = match text.as_str() {
                    "" => Err(ActorError::invalid_argument("nothing was said")),
                    text => Ok(Said { text: text.to_uppercase() }),
                };
                let is_over = said.is_err();
                if called.replies.send(&said).await.is_err() {
                    return;
                }
                if is_over {
                    break;
                }
            }
            called.replies.finish();
        });
    }
}

impl Handler<ForgetRequest> for Greeter {
    type Result = Result<Empty, ActorError>;

    fn handle(&mut self, _: ForgetRequest, _: &mut Context<Self>) -> Self::Result {
        Err(ActorError::unimplemented("nobody is forgotten here"))
    }
}
