//! The addresses that are asked all day, met before the router, which would try its patterns one by one and box a future for
//! each of its layers. The handlers are the same; any other spelling or method takes the router's road.

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{Service, ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::{Error, HttpResponse, web};

use super::error::ApiError;
use super::neighbours::{hub, tokenboy, wetoken};
use super::state::AppState;
use super::{CONFIG, PUSH, QUERY, challenge, extract, jsapi_config, jsapi_query, login, push};

/// Which of them, or none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Hot {
    Config,
    Query,
    Push,
    Hub(hub::Address),
    Wetoken(wetoken::Address),
    Source,
}

impl Hot {
    /// Which address this is, and its appid.
    pub(super) fn of<'a>(method: &Method, path: &'a str) -> Option<(Self, &'a str)> {
        // An appid that is percent-encoded is for the router to decode.
        let is_plain = |app_id: &str| {
            !app_id.is_empty() && app_id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
        };
        if let Some(app_id) = path.strip_prefix("/wechat/") {
            return (method == Method::POST && is_plain(app_id) && path != login::CALLBACK).then_some((Self::Push, app_id));
        }
        let Some(rest) = path.strip_prefix("/jsapi/") else {
            if method != Method::GET {
                return None;
            }
            if path == tokenboy::TOKEN {
                return Some((Self::Source, ""));
            }
            if let Some((address, app_id)) = hub::Address::of(path) {
                return (app_id.is_empty() || is_plain(app_id)).then_some((Self::Hub(address), app_id));
            }
            let (address, app_id) = wetoken::Address::of(path)?;
            return is_plain(app_id).then_some((Self::Wetoken(address), app_id));
        };
        let (app_id, word) = rest.split_once('/')?;
        let is_plain = is_plain(app_id);
        match word {
            "config" if is_plain && method == Method::POST => Some((Self::Config, app_id)),
            "query" if is_plain && method == Method::GET => Some((Self::Query, app_id)),
            _ => None,
        }
    }

    /// Its pattern in the route table.
    pub(super) fn route(self) -> &'static str {
        match self {
            Self::Config => CONFIG,
            Self::Query => QUERY,
            Self::Push => PUSH,
            Self::Hub(address) => address.path,
            Self::Wetoken(address) => address.path,
            Self::Source => tokenboy::TOKEN,
        }
    }

    /// The layer between actix-cors and the router, for the requests of pages: they carry an `Origin`.
    pub(super) fn or_routed<S, B>(
        state: web::Data<AppState>,
        req: ServiceRequest,
        router: &S,
    ) -> impl Future<Output = Result<ServiceResponse<BoxBody>, Error>> + use<S, B>
    where
        S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
        B: MessageBody + 'static,
    {
        let way = match Self::of(req.method(), req.path()) {
            Some(_) => Err(req),
            None => Ok(router.call(req)),
        };
        async move {
            match way {
                Err(req) => Ok(Self::answer(&state, req).await),
                Ok(routed) => Ok(routed.await?.map_into_boxed_body()),
            }
        }
    }

    /// Runs the handler of a request that [`Hot::of`] knows.
    pub(super) async fn answer(state: &AppState, req: ServiceRequest) -> ServiceResponse {
        let (req, payload) = req.into_parts();
        let answer = match Self::of(req.method(), req.path()) {
            Some((Self::Config, app_id)) => jsapi_config::posted(app_id, state, &req, payload).await,
            Some((Self::Query, app_id)) => match extract::query(state, &req, app_id).await {
                Ok(query) => jsapi_query::asked(query, state).await,
                Err(refused) => Err(refused),
            },
            Some((Self::Push, app_id)) => match challenge::known(&req, state, app_id).await {
                Ok(holding) => push::delivered(holding, state, &req, payload).await,
                Err(unknown) => Err(unknown),
            },
            Some((Self::Hub(address), app_id)) => {
                let answer = address.answer(state, &req, app_id).await;
                return ServiceResponse::new(req, answer.unwrap_or_else(HttpResponse::from_error));
            }
            Some((Self::Wetoken(address), app_id)) => {
                let answer = address.answer(state, &req, payload, app_id).await;
                return ServiceResponse::new(req, answer.unwrap_or_else(HttpResponse::from_error));
            }
            Some((Self::Source, _)) if !state.sources.is_empty() => {
                let answer = tokenboy::told(&req, state).await;
                return ServiceResponse::new(req, answer);
            }
            // Without sources the address does not exist, also after a reload.
            Some((Self::Source, _)) | None => Err(ApiError::NotFound),
        };
        let response = answer.unwrap_or_else(HttpResponse::from_error);
        ServiceResponse::new(req, response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_plain_spelling_with_the_usual_method_is_met_early() {
        let of = |method: Method, path: &'static str| Hot::of(&method, path);
        assert_eq!(of(Method::POST, "/jsapi/wx1/config"), Some((Hot::Config, "wx1")));
        assert_eq!(of(Method::GET, "/jsapi/wx1/query"), Some((Hot::Query, "wx1")));
        for path in
            ["/jsapi/wx1/query/", "/JSAPI/wx1/query", "/jsapi//query", "/jsapi/w%781/query", "/jsapi/a/b/query", "/jsapi/query"]
        {
            assert_eq!(of(Method::GET, path), None, "{path}");
        }
        assert_eq!(of(Method::POST, "/wechat/wx1"), Some((Hot::Push, "wx1")));
        for path in ["/wechat", "/wechat/", "/wechat/weblogin", "/wechat/wx1/", "/wechat/w%781", "/Wechat/wx1"] {
            assert_eq!(of(Method::POST, path), None, "{path}");
        }
        for path in ["/wx/wx1/token/get", "/wx/wx1/ticket/get", "/wx1/wechat/token/get", "/wx1/wechat/ticket/get"] {
            assert!(matches!(of(Method::GET, path), Some((Hot::Wetoken(_), "wx1"))), "{path}");
            assert_eq!(of(Method::POST, path), None, "{path}");
        }
        for path in ["/wx/w%781/token/get", "/a/b/wechat/token/get", "/wechat/token/get", "//wechat/token/get", "/wx//token/get"] {
            assert_eq!(of(Method::GET, path), None, "{path}");
        }
        assert_eq!(of(Method::GET, "/token"), Some((Hot::Source, "")));
        assert_eq!((of(Method::POST, "/token"), of(Method::GET, "/token/")), (None, None));
        assert_eq!(of(Method::GET, "/wechat/wx1"), None);
        assert_eq!(of(Method::HEAD, "/jsapi/wx1/query"), None);
        assert_eq!(of(Method::GET, "/jsapi/wx1/config"), None);
    }
}
