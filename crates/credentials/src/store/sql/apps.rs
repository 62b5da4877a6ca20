//! Apps and users: rows of wetoken's tables.

use super::super::{Apps, StoreError, StoredApp, Users};
use super::{SqlStore, wetoken};
use async_trait::async_trait;

#[async_trait]
impl Apps for SqlStore {
    async fn apps(&self) -> Result<Vec<StoredApp>, StoreError> {
        self.run("read", |mut session| async move {
            Ok((wetoken::apps(&mut session).await?, session))
        })
        .await
    }

    async fn find_app(&self, app_id: &str) -> Result<Option<StoredApp>, StoreError> {
        self.run("read", move |mut session| async move {
            Ok((wetoken::find_app(&mut session, app_id).await?, session))
        })
        .await
    }

    async fn put_app(&self, app: &StoredApp) -> Result<(), StoreError> {
        self.run("write", move |mut session| async move {
            Ok((wetoken::put_app(&mut session, app).await?, session))
        })
        .await
    }
}

#[async_trait]
impl Users for SqlStore {
    async fn find_user(&self, app_id: &str, user_name: &str) -> Result<Option<String>, StoreError> {
        self.run("read", move |mut session| async move {
            Ok((
                wetoken::find_user(&mut session, app_id, user_name).await?,
                session,
            ))
        })
        .await
    }
}
