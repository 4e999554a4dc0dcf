//! A stand-in for an identity provider, which tests make lie: its own code signs with keys made here, by
//! RS256 or ES256, and answers on loopback without TLS. Nothing of the relying party's code is in it.

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use url::Url;

use adit_core::domain::time::Timestamp;
use adit_net::identity::random;

pub(crate) const CLIENT: &str = "adit";
pub(crate) const CLIENT_SECRET: &str = "a client's secret, never shown";

/// By what the stand-in signs its next token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signing {
    Es256,
    Rs256,
    /// No signature.
    None,
    /// A MAC, whose key is the public key as everybody can read it.
    Hs256WithPublicKey,
    /// A MAC with the client's secret.
    Hs256WithSecret,
    /// ES256 by a key that the stand-in does not publish, under the name of one that it does.
    Es256OfAnother,
}

/// What it makes of the next token, and of itself.
pub(crate) struct Lies {
    pub(crate) signing: Signing,
    /// Put over the token's claims; `null` removes one.
    pub(crate) claims: Value,
    /// Put over its configuration likewise.
    pub(crate) configuration: Value,
    /// Whether it answers at all.
    pub(crate) is_away: bool,
    /// Where it sends on whoever reads its configuration.
    pub(crate) moved_to: Option<String>,
}

struct Code {
    nonce: String,
    challenge: String,
    redirect: String,
    claims: Value,
}

struct Inner {
    keys: Vec<(String, EcdsaKeyPair)>,
    rsa: RsaKeyPair,
    lies: Lies,
    codes: BTreeMap<String, Code>,
    now: Timestamp,
    /// How often its keys were read.
    keys_read: usize,
}

pub(crate) struct StandInProvider {
    pub(crate) issuer: String,
    inner: Arc<Mutex<Inner>>,
    _serving: JoinSet<()>,
}

/// What a browser comes back with.
#[derive(Debug, Clone)]
pub(crate) struct Back {
    pub(crate) state: String,
    pub(crate) code: String,
}

impl StandInProvider {
    pub(crate) async fn start(now: Timestamp) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let lies = Lies {
            signing: Signing::Es256,
            claims: json!({}),
            configuration: json!({}),
            is_away: false,
            moved_to: None,
        };
        let inner = Inner {
            keys: vec![("first".into(), ec_key())],
            rsa: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
            lies,
            codes: BTreeMap::new(),
            now,
            keys_read: 0,
        };
        let inner = Arc::new(Mutex::new(inner));
        let served = (issuer.clone(), Arc::clone(&inner));
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(configuration))
            .route("/keys", get(keys))
            .route("/token", post(token))
            .with_state(Arc::new(served));
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { issuer, inner, _serving: serving }
    }

    pub(crate) fn lie(&self, lie: impl FnOnce(&mut Lies)) {
        lie(&mut self.inner.lock().lies);
    }

    pub(crate) fn set_now(&self, now: Timestamp) {
        self.inner.lock().now = now;
    }

    /// Takes a new key into use and forgets the old ones.
    pub(crate) fn rotate(&self, name: &str) {
        self.inner.lock().keys = vec![(name.into(), ec_key())];
    }

    pub(crate) fn keys_read(&self) -> usize {
        self.inner.lock().keys_read
    }

    /// Signs a user in who was sent here, and sends the browser back.
    pub(crate) fn sign_in(&self, authorization_url: &str, claims: Value) -> Back {
        let url = Url::parse(authorization_url).unwrap();
        assert!(authorization_url.starts_with(&format!("{}/authorize?", self.issuer)), "{authorization_url}");
        let asked: BTreeMap<_, _> = url.query_pairs().into_owned().collect();
        assert_eq!(asked["response_type"], "code");
        assert_eq!(asked["client_id"], CLIENT);
        assert_eq!(asked["code_challenge_method"], "S256");
        assert!(asked["scope"].split(' ').any(|scope| scope == "openid"));
        let code = hex::encode(random::bytes::<16>());
        let kept = Code {
            nonce: asked["nonce"].clone(),
            challenge: asked["code_challenge"].clone(),
            redirect: asked["redirect_uri"].clone(),
            claims,
        };
        self.inner.lock().codes.insert(code.clone(), kept);
        Back { state: asked["state"].clone(), code }
    }
}

type Served = State<Arc<(String, Arc<Mutex<Inner>>)>>;
type Answer = Result<Json<Value>, (StatusCode, Json<Value>)>;

fn refused(status: StatusCode, error: &str) -> Answer {
    Err((status, Json(json!({ "error": error }))))
}

async fn configuration(State(served): Served) -> Response {
    let (issuer, inner) = &*served;
    let inner = inner.lock();
    if inner.lies.is_away {
        return refused(StatusCode::BAD_GATEWAY, "away").into_response();
    }
    if let Some(to) = &inner.lies.moved_to {
        return Redirect::temporary(to).into_response();
    }
    let mut said = json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"),
        "jwks_uri": format!("{issuer}/keys"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256", "ES256", "of the future"],
        "authorization_response_iss_parameter_supported": true,
        "code_challenge_methods_supported": ["plain", "S256"],
    });
    put_over(&mut said, &inner.lies.configuration);
    Json(said).into_response()
}

async fn keys(State(served): Served) -> Answer {
    let mut inner = served.1.lock();
    if inner.lies.is_away {
        return refused(StatusCode::BAD_GATEWAY, "away");
    }
    inner.keys_read += 1;
    let mut all: Vec<_> = inner.keys.iter().map(|(name, key)| ec_jwk(name, key)).collect();
    all.push(rsa_jwk(&inner.rsa));
    all.push(json!({ "kty": "of the future" }));
    Ok(Json(json!({ "keys": all })))
}

async fn token(State(served): Served, headers: HeaderMap, body: String) -> Answer {
    let asked: BTreeMap<_, _> = url::form_urlencoded::parse(body.as_bytes()).into_owned().collect();
    let (issuer, inner) = &*served;
    let mut inner = inner.lock();
    if inner.lies.is_away {
        return refused(StatusCode::BAD_GATEWAY, "away");
    }
    let secret = url::form_urlencoded::byte_serialize(CLIENT_SECRET.as_bytes()).collect::<String>();
    let shown = headers.get("authorization").and_then(|it| it.to_str().ok()).unwrap_or_default();
    if shown != format!("Basic {}", base64(format!("{CLIENT}:{secret}").as_bytes(), Alphabet::Mime)) {
        return refused(StatusCode::UNAUTHORIZED, "invalid_client");
    }
    let Some(code) = inner.codes.remove(&asked["code"]) else {
        return refused(StatusCode::BAD_REQUEST, "invalid_grant");
    };
    let challenge = base64(digest(&SHA256, asked["code_verifier"].as_bytes()).as_ref(), Alphabet::Url);
    if asked["grant_type"] != "authorization_code"
        || challenge != code.challenge
        || asked["redirect_uri"] != code.redirect
    {
        return refused(StatusCode::BAD_REQUEST, "invalid_grant");
    }
    let access_token = hex::encode(random::bytes::<16>());
    let id_token = inner.id_token(issuer, &code, &access_token);
    Ok(Json(
        json!({ "access_token": access_token, "token_type": "Bearer", "expires_in": 60, "id_token": id_token }),
    ))
}

impl Inner {
    fn id_token(&self, issuer: &str, code: &Code, access_token: &str) -> String {
        let now = self.now.as_secs();
        let mut claims = json!({
            "iss": issuer, "aud": CLIENT, "azp": CLIENT, "nonce": code.nonce, "iat": now, "exp": now + 300,
            "at_hash": base64(&digest(&SHA256, access_token.as_bytes()).as_ref()[..16], Alphabet::Url),
        });
        put_over(&mut claims, &code.claims);
        put_over(&mut claims, &self.lies.claims);
        let (name, key) = self.keys.first().unwrap();
        let (alg, kid) = match self.lies.signing {
            Signing::Es256 | Signing::Es256OfAnother => ("ES256", name.as_str()),
            Signing::Rs256 => ("RS256", "rsa"),
            Signing::None => ("none", name.as_str()),
            Signing::Hs256WithPublicKey | Signing::Hs256WithSecret => ("HS256", name.as_str()),
        };
        let part = |value: &Value| base64(value.to_string().as_bytes(), Alphabet::Url);
        let head = json!({ "alg": alg, "kid": kid, "typ": "JWT" });
        let signed = format!("{}.{}", part(&head), part(&claims));
        let random = SystemRandom::new();
        let by_ec = |key: &EcdsaKeyPair| key.sign(&random, signed.as_bytes()).unwrap().as_ref().to_vec();
        let mac = |key: &[u8]| {
            hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), signed.as_bytes()).as_ref().to_vec()
        };
        let signature = match self.lies.signing {
            Signing::Es256 => by_ec(key),
            Signing::Es256OfAnother => by_ec(&ec_key()),
            Signing::Rs256 => {
                let mut signature = vec![0; self.rsa.public_modulus_len()];
                self.rsa.sign(&RSA_PKCS1_SHA256, &random, signed.as_bytes(), &mut signature).unwrap();
                signature
            }
            Signing::None => Vec::new(),
            Signing::Hs256WithPublicKey => mac(key.public_key().as_ref()),
            Signing::Hs256WithSecret => mac(CLIENT_SECRET.as_bytes()),
        };
        format!("{signed}.{}", base64(&signature, Alphabet::Url))
    }
}

fn put_over(value: &mut Value, over: &Value) {
    let fields = value.as_object_mut().unwrap();
    for (name, value) in over.as_object().unwrap() {
        if value.is_null() {
            fields.remove(name);
        } else {
            fields.insert(name.clone(), value.clone());
        }
    }
}

fn ec_key() -> EcdsaKeyPair {
    EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap()
}

fn ec_jwk(name: &str, key: &EcdsaKeyPair) -> Value {
    let point = key.public_key().as_ref();
    let (x, y) = point[1..].split_at(32);
    let [x, y] = [x, y].map(|half| base64(half, Alphabet::Url));
    json!({ "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": name, "x": x, "y": y })
}

fn rsa_jwk(key: &RsaKeyPair) -> Value {
    // SubjectPublicKeyInfo of 2048 bits and exponent 65537: the modulus, then 02 03 01 00 01.
    let der = key.public_key().as_der().unwrap();
    let der = der.as_ref();
    let modulus = &der[der.len() - 5 - 256..der.len() - 5];
    let [n, e] = [modulus, &[1, 0, 1]].map(|number| base64(number, Alphabet::Url));
    json!({ "kty": "RSA", "use": "sig", "alg": "RS256", "kid": "rsa", "n": n, "e": e })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Alphabet {
    /// RFC 4648 §4, with padding.
    Mime,
    /// RFC 4648 §5, without.
    Url,
}

fn base64(bytes: &[u8], alphabet: Alphabet) -> String {
    const FIRST: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let last = if alphabet == Alphabet::Mime { b"+/" } else { b"-_" };
    let digit = |bits: u32| char::from(*FIRST.iter().chain(last).nth(bits as usize & 63).unwrap());
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let shift = 8 * (3 - three.len());
        let bits = three.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << shift;
        text.extend((0..=three.len()).map(|at| digit(bits >> (18 - 6 * at))));
        if alphabet == Alphabet::Mime {
            text.extend(std::iter::repeat_n('=', 3 - three.len()));
        }
    }
    text
}
