//! The service `Images`: look-ups and removals here, the streams in `upsert` and `index`.

use super::app::App;
use super::auth::may_write;
use super::proto::v1 as pb;
use super::proto::v1::images_server::Images;
use super::room::Held;
use super::work::deadline;
use super::{convert, index, upsert};
use crate::error::Error;
use crate::types::ItemId;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

/// The most ids of one look-up.
const MAX_IDS: usize = 10_000;

#[tonic::async_trait]
impl Images for App {
    type UpsertStream = ReceiverStream<Result<pb::UpsertResponse, Status>>;
    type IndexStream = ReceiverStream<Result<pb::IndexProgress, Status>>;

    async fn upsert(
        &self,
        request: Request<Streaming<pb::UpsertRequest>>,
    ) -> Result<Response<Self::UpsertStream>, Status> {
        may_write(&request)?;
        let room = request.extensions().get::<Held>().cloned().unwrap_or_default();
        Ok(Response::new(upsert::start(self.clone(), request.into_inner(), room)))
    }

    async fn index(&self, request: Request<pb::IndexRequest>) -> Result<Response<Self::IndexStream>, Status> {
        may_write(&request)?;
        let deadline = deadline(request.metadata());
        Ok(Response::new(index::start(self.clone(), request.into_inner(), deadline).await?))
    }

    async fn get(
        &self,
        request: Request<pb::GetImagesRequest>,
    ) -> Result<Response<pb::GetImagesResponse>, Status> {
        let (deadline, request, app) = (deadline(request.metadata()), request.into_inner(), self.clone());
        let found = self.work.run(deadline, move |_| {
            if request.ids.len() > MAX_IDS {
                let what = format!("{} ids", request.ids.len());
                return Err(Error::invalid(what, format!("ask for at most {MAX_IDS} at once")));
            }
            let collection = app.collection(&request.collection)?;
            let mut response = pb::GetImagesResponse::default();
            for id in request.ids {
                match collection.item(ItemId(id))? {
                    Some(item) => {
                        response.items.push(convert::item(item, request.with_payload, request.with_captions));
                    }
                    None => response.missing.push(id),
                }
            }
            Ok(response)
        });
        Ok(Response::new(found.await?))
    }

    async fn delete(
        &self,
        request: Request<pb::DeleteImagesRequest>,
    ) -> Result<Response<pb::DeleteImagesResponse>, Status> {
        may_write(&request)?;
        let (deadline, request, app) = (deadline(request.metadata()), request.into_inner(), self.clone());
        let removed = self.work.run(deadline, move |_| {
            let collection = app.collection(&request.collection)?;
            let mut keys = request.keys;
            for id in request.ids {
                keys.extend(collection.item(ItemId(id))?.map(|item| item.key));
            }
            // Named twice, it is removed once.
            keys.sort_unstable();
            keys.dedup();
            collection.remove_keys(&keys)
        });
        Ok(Response::new(pb::DeleteImagesResponse { removed: removed.await? as u64 }))
    }
}
