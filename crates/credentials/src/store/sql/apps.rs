//! Apps and users: rows of wetoken's tables.

use futures_util::future::{BoxFuture, FutureExt};

use super::super::{Apps, StoreError, StoredApp, Users};
use super::{SqlStore, wetoken};

impl Apps for SqlStore {
    fn apps(&self) -> BoxFuture<'_, Result<Vec<StoredApp>, StoreError>> {
        self.run("read", |mut session| async move {
            Ok((wetoken::apps(&mut session).await?, session))
        })
        .boxed()
    }

    fn find_app<'a>(
        &'a self,
        app_id: &'a str,
    ) -> BoxFuture<'a, Result<Option<StoredApp>, StoreError>> {
        self.run("read", move |mut session| async move {
            Ok((wetoken::find_app(&mut session, app_id).await?, session))
        })
        .boxed()
    }

    fn put_app<'a>(&'a self, app: &'a StoredApp) -> BoxFuture<'a, Result<(), StoreError>> {
        self.run("write", move |mut session| async move {
            Ok((wetoken::put_app(&mut session, app).await?, session))
        })
        .boxed()
    }
}

impl Users for SqlStore {
    fn find_user<'a>(
        &'a self,
        app_id: &'a str,
        user_name: &'a str,
    ) -> BoxFuture<'a, Result<Option<String>, StoreError>> {
        self.run("read", move |mut session| async move {
            Ok((
                wetoken::find_user(&mut session, app_id, user_name).await?,
                session,
            ))
        })
        .boxed()
    }
}
