//! The service `Answer`.

use super::app::App;
use super::proto::v1::answer_server::Answer;
use super::proto::v1::{AskRequest, AskResponse};
use tokio_stream::Empty;
use tonic::{Request, Response, Status};

#[tonic::async_trait]
impl Answer for App {
    type AskStream = Empty<Result<AskResponse, Status>>;

    async fn ask(&self, _request: Request<AskRequest>) -> Result<Response<Self::AskStream>, Status> {
        Err(Status::unimplemented("this server has no answering model yet: use Search.Query"))
    }
}
