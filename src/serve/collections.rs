//! The service `Collections`.

use super::app::App;
use super::auth::may_write;
use super::convert;
use super::proto::v1 as pb;
use super::proto::v1::collections_server::Collections;
use super::work::deadline;
use crate::engine::NewCollection;
use tonic::{Request, Response, Status};

#[tonic::async_trait]
impl Collections for App {
    async fn create(
        &self,
        request: Request<pb::CreateCollectionRequest>,
    ) -> Result<Response<pb::CreateCollectionResponse>, Status> {
        may_write(&request)?;
        let (deadline, request, app) = (deadline(request.metadata()), request.into_inner(), self.clone());
        let made = self.work.run(deadline, move |_| {
            let model = app.model(&request.model);
            let codes = match request.codes.as_str() {
                "" => None,
                codes => Some(codes.parse()?),
            };
            app.engine.create_collection(&request.name, NewCollection { model, codes })?.info()
        });
        let collection = Some(convert::collection(made.await?));
        Ok(Response::new(pb::CreateCollectionResponse { collection }))
    }

    async fn get(
        &self,
        request: Request<pb::GetCollectionRequest>,
    ) -> Result<Response<pb::GetCollectionResponse>, Status> {
        let (deadline, request, app) = (deadline(request.metadata()), request.into_inner(), self.clone());
        let info = self.work.run(deadline, move |_| app.collection(&request.name)?.info()).await?;
        Ok(Response::new(pb::GetCollectionResponse { collection: Some(convert::collection(info)) }))
    }

    async fn list(
        &self,
        request: Request<pb::ListCollectionsRequest>,
    ) -> Result<Response<pb::ListCollectionsResponse>, Status> {
        let app = self.clone();
        let all = self.work.run(deadline(request.metadata()), move |_| app.engine.collections()).await?;
        let collections = all.into_iter().map(convert::collection).collect();
        Ok(Response::new(pb::ListCollectionsResponse { collections }))
    }

    async fn flip(
        &self,
        request: Request<pb::FlipCollectionRequest>,
    ) -> Result<Response<pb::FlipCollectionResponse>, Status> {
        may_write(&request)?;
        let (deadline, request, app) = (deadline(request.metadata()), request.into_inner(), self.clone());
        let flipped = self.work.run(deadline, move |_| app.flip(&request.name, request.remove_missing));
        let collection = Some(convert::collection(flipped.await?));
        Ok(Response::new(pb::FlipCollectionResponse { collection }))
    }

    async fn drop_shadow(
        &self,
        request: Request<pb::DropShadowRequest>,
    ) -> Result<Response<pb::DropShadowResponse>, Status> {
        may_write(&request)?;
        let (deadline, request, app) = (deadline(request.metadata()), request.into_inner(), self.clone());
        let drop = move |_: &_| app.engine.drop_shadow(convert::collection_name(&request.name));
        self.work.run(deadline, drop).await?;
        Ok(Response::new(pb::DropShadowResponse {}))
    }

    async fn delete(
        &self,
        request: Request<pb::DeleteCollectionRequest>,
    ) -> Result<Response<pb::DeleteCollectionResponse>, Status> {
        may_write(&request)?;
        let (deadline, request, app) = (deadline(request.metadata()), request.into_inner(), self.clone());
        self.work.run(deadline, move |_| app.drop_collection(&request.name)).await?;
        Ok(Response::new(pb::DeleteCollectionResponse {}))
    }
}
