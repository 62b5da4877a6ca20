//! The tables of micro-plat/wetoken, as they are: a credential is a row of its account's, apps and
//! users are rows too. A row that wetoken wrote is a record to us, and what we write is a row to
//! it; whole seconds, in the server's local time on MySQL.

use secrecy::{ExposeSecret, SecretString};
use sqlx::Result;

use super::super::{Payment, StoredApp};
use super::Found;
use super::driver::Arg::{self, Number, Text};
use super::driver::Cell;
use super::fault::is_duplicate;
use super::records::ROUNDS;
use super::session::Session;

/// The row that a key is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct CredentialRow<'k> {
    key: &'k str,
    table: &'static str,
    column: &'static str,
    app_id: &'k str,
}

/// Returns the row of `APPID.token` or `APPID.ticket`. wetoken has no other credentials, and no
/// appid contains a dot.
pub(super) fn row_of(key: &str) -> Option<CredentialRow<'_>> {
    let (app_id, kind) = key.split_once('.')?;
    let (table, column) = match kind {
        "token" => ("wechat_access_token", "access_token"),
        "ticket" => ("wechat_jsapi_ticket", "ticket"),
        _ => return None,
    };
    Some(CredentialRow {
        key,
        table,
        column,
        app_id,
    })
}

impl CredentialRow<'_> {
    pub(super) async fn read(&self, session: &mut Session) -> Result<Option<Found>> {
        let Self {
            table,
            column,
            app_id,
            ..
        } = self;
        let question = format!("SELECT appid, {column}, {{left}} FROM {table} WHERE appid = ?");
        let row = session.row(&question, &[Text(app_id)]).await?;
        // MySQL's usual collations take `WX1` for `wx1`; one account's credential must not be
        // another's.
        Ok(row.and_then(|[found, value, left]| {
            if found.text()? == *app_id {
                Found::new(value, left)
            } else {
                None
            }
        }))
    }

    pub(super) async fn write(&self, session: &mut Session, value: &str, left: i64) -> Result<()> {
        let Self {
            key,
            table,
            column,
            app_id,
        } = self;
        let over = session.dialect().over(
            "appid",
            &[
                "appid",
                column,
                "expire",
                "expire_date",
                "update_time",
                "message",
            ],
        );
        let statement = format!(
            "INSERT INTO {table} (appid, {column}, expire, expire_date, update_time, message) \
             VALUES (?, ?, ?, {{end}}, {{moment}}, 'success') {over}"
        );
        let args = [Text(app_id), Text(value), Number(left / 1000), Number(left)];
        session
            .execute_telling(key, &statement, &args)
            .await
            .map(drop)
    }

    /// Replaces the value if it has expired or `may` give way. Of several that read the same value
    /// one writes; the others read again.
    pub(super) async fn replace(
        &self,
        session: &mut Session,
        may: impl Fn(&str) -> bool,
        value: &str,
        left: i64,
    ) -> Result<bool> {
        let Self {
            key,
            table,
            column,
            app_id,
        } = self;
        let question = format!("SELECT {column}, {{left}} FROM {table} WHERE appid = ?");
        let update = format!(
            "UPDATE {table} SET appid = ?, {column} = ?, expire = ?, expire_date = {{end}}, update_time = {{moment}}, \
             message = 'success' WHERE appid = ? AND {column} = ?"
        );
        let insert = format!(
            "INSERT INTO {table} (appid, {column}, expire, expire_date, update_time, message) \
             VALUES (?, ?, ?, {{end}}, {{moment}}, 'success')"
        );
        let new = [Text(app_id), Text(value), Number(left / 1000), Number(left)];
        for _ in 0..ROUNDS {
            let Some([found, rest]) = session.row(&question, &[Text(app_id)]).await? else {
                match session.execute_telling(key, &insert, &new).await {
                    Err(error) if is_duplicate(&error) => continue,
                    inserted => return inserted.map(|_| true),
                }
            };
            let found = found.text().unwrap_or_default();
            if rest.number().is_some_and(|rest| rest > 0) && !may(&found) {
                return Ok(false);
            }
            let [app, text, expire, end] = new;
            if session
                .execute_telling(
                    key,
                    &update,
                    &[app, text, expire, end, Text(app_id), Text(&found)],
                )
                .await?
                == 1
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Of several who read the same value, one deletes its row: that one has taken it.
    pub(super) async fn take(&self, session: &mut Session) -> Result<Option<Found>> {
        let Some(found) = self.read(session).await? else {
            return Ok(None);
        };
        let Self {
            table,
            column,
            app_id,
            ..
        } = self;
        let statement = format!("DELETE FROM {table} WHERE appid = ? AND {column} = ?");
        let deleted = session
            .execute(
                &statement,
                &[Text(app_id), Text(found.value.expose_secret())],
            )
            .await?;
        Ok((deleted == 1).then_some(found))
    }
}

/// What is read of an app, in the order of [`app`].
const APP: &str =
    "appid, secret, token, aes_key, wcode_template_id, mchid, pay_key, sub_appid, sub_mchid";

/// All apps that have a secret.
pub(super) async fn apps(session: &mut Session) -> Result<Vec<StoredApp>> {
    let question = format!("SELECT {APP} FROM wechat_app_info WHERE secret <> '' ORDER BY appid");
    let rows = session.rows(&question, &[]).await?;
    Ok(rows
        .into_iter()
        .filter_map(|cells| app(cells.try_into().ok()?))
        .collect())
}

/// The app of that appid, if it has a secret.
pub(super) async fn find_app(session: &mut Session, app_id: &str) -> Result<Option<StoredApp>> {
    let question = format!("SELECT {APP} FROM wechat_app_info WHERE appid = ? AND secret <> ''");
    let found = session.row(&question, &[Text(app_id)]).await?.and_then(app);
    // MySQL's usual collations take `WX1` for `wx1`.
    Ok(found.filter(|app| app.app_id == app_id))
}

/// wetoken's columns are never null: what an app does not have is an empty text there.
fn app(cells: [Cell; 9]) -> Option<StoredApp> {
    let [
        app_id,
        secret,
        token,
        aes_key,
        template_id,
        mchid,
        pay_key,
        sub_appid,
        sub_mchid,
    ] = cells;
    let filled = |cell: Cell| cell.text().filter(|text| !text.is_empty());
    Some(StoredApp {
        app_id: app_id.text()?,
        secret: secret.secret()?,
        token: filled(token).map(Into::into),
        aes_key: filled(aes_key).map(Into::into),
        template_id: filled(template_id),
        payment: Payment {
            mchid: filled(mchid),
            pay_key: filled(pay_key).map(Into::into),
            sub_appid: filled(sub_appid),
            sub_mchid: filled(sub_mchid),
        },
    })
}

/// Writes `app`. In an existing row, payment columns that it does not set are kept. So is the
/// template of a row that is not an app yet because it has no secret.
pub(super) async fn put_app(session: &mut Session, app: &StoredApp) -> Result<()> {
    let prepared = match app.template_id {
        Some(_) => None,
        None => prepared_template(session, &app.app_id).await?,
    };
    let template_id = app.template_id.as_deref().or(prepared.as_deref());
    let shown = |secret: &'_ Option<SecretString>| {
        secret
            .as_ref()
            .map_or(String::new(), |secret| secret.expose_secret().to_owned())
    };
    let (token, aes_key, pay_key) = (
        shown(&app.token),
        shown(&app.aes_key),
        shown(&app.payment.pay_key),
    );
    let Payment {
        mchid,
        sub_appid,
        sub_mchid,
        ..
    } = &app.payment;
    let payment = [
        ("mchid", mchid.as_deref().unwrap_or_default()),
        ("pay_key", pay_key.as_str()),
        ("sub_appid", sub_appid.as_deref().unwrap_or_default()),
        ("sub_mchid", sub_mchid.as_deref().unwrap_or_default()),
    ];
    let mut written = vec![
        "appid",
        "secret",
        "token",
        "aes_key",
        "update_time",
        "wcode_template_id",
    ];
    written.extend(
        payment
            .iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(column, _)| *column),
    );
    let over = session.dialect().over("appid", &written);
    let statement = format!(
        "INSERT INTO wechat_app_info \
         (appid, secret, token, aes_key, update_time, mchid, pay_key, sub_appid, sub_mchid, wcode_template_id) \
         VALUES (?, ?, ?, ?, {{moment}}, ?, ?, ?, ?, ?) {over}"
    );
    let [mchid, pay_key, sub_appid, sub_mchid] = payment.map(|(_, value)| Text(value));
    let args = [
        Text(&app.app_id),
        Text(app.secret.expose_secret()),
        Text(&token),
        Text(&aes_key),
        mchid,
        pay_key,
        sub_appid,
        sub_mchid,
        Arg::from(template_id),
    ];
    session.execute(&statement, &args).await.map(drop)
}

async fn prepared_template(session: &mut Session, app_id: &str) -> Result<Option<String>> {
    let question = "SELECT wcode_template_id FROM wechat_app_info WHERE appid = ? AND secret = ''";
    let row = session.row(question, &[Text(app_id)]).await?;
    Ok(row.and_then(|[template_id]| template_id.text()))
}

pub(super) async fn find_user(
    session: &mut Session,
    app_id: &str,
    user_name: &str,
) -> Result<Option<String>> {
    let question = "SELECT openid FROM wechat_user_info WHERE appid = ? AND user_name = ? ORDER BY user_id LIMIT 1";
    let row = session
        .row(question, &[Text(app_id), Text(user_name)])
        .await?;
    Ok(row
        .and_then(|[openid]| openid.text())
        .filter(|openid| !openid.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_account_tokens_and_tickets_are_wetoken_rows() {
        let table = |key| row_of(key).map(|row| (row.table, row.app_id.to_owned()));
        assert_eq!(
            table("wx1.token"),
            Some(("wechat_access_token", "wx1".to_owned()))
        );
        assert_eq!(
            table("wx1.ticket"),
            Some(("wechat_jsapi_ticket", "wx1".to_owned()))
        );
        for key in [
            "wx1.card_ticket",
            "oauth.ticket.wx1.token",
            "login.code.ticket",
            "token",
            "message.wx1.1",
        ] {
            assert_eq!(table(key), None, "{key}");
        }
    }
}
