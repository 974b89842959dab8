//! Credentials: what is read, what is refused, and that nobody sees them.

use crate::{CredentialsError, DockerConfig, RegistryLogin};

fn authorization(login: &RegistryLogin) -> String {
    login.authorization().to_string()
}

#[test]
fn a_file_has_a_name_and_a_password_or_a_token() {
    let login = RegistryLogin::from_file(b"user:pass:word\n").unwrap();
    assert_eq!(authorization(&login), "Basic dXNlcjpwYXNzOndvcmQ=");
    let login = RegistryLogin::from_file(b" ghp_token\r\n").unwrap();
    assert_eq!(authorization(&login), "Bearer ghp_token");
    assert_eq!(RegistryLogin::from_file(b" \n").unwrap_err(), CredentialsError::Empty);
    for text in [&b"user:secret\nother:line"[..], b"secret\x00", b"\xff\xfe", "sécret".as_bytes()]
    {
        assert_eq!(RegistryLogin::from_file(text).unwrap_err(), CredentialsError::NotALine);
    }
}

#[test]
fn dockers_file_is_read() {
    let config = DockerConfig::parse(
        br#"{"auths": {"https://index.docker.io/v1/": {"auth": "aHViOnNlY3JldA=="}, "GHCR.io": {"auth": "dXNlcjpzZWNyZXQ="},
             "localhost:5000": {"auth": "YTpi", "email": "x"}, "empty.io": {}}, "HttpHeaders": {"a": "b"}}"#,
    )
    .unwrap();
    let of = |registry| config.login(registry).unwrap().as_ref().map(authorization);
    assert_eq!(of("docker.io").unwrap(), "Basic aHViOnNlY3JldA==");
    assert_eq!(of("ghcr.io").unwrap(), "Basic dXNlcjpzZWNyZXQ=");
    assert_eq!(of("localhost:5000").unwrap(), "Basic YTpi");
    assert_eq!((of("localhost:5001"), of("localhost"), of("empty.io")), (None, None, None));
}

#[test]
fn a_registry_that_docker_leaves_to_a_program_is_refused_with_the_way() {
    let config = DockerConfig::parse(
        br#"{"credHelpers": {"gcr.io": "gcloud"}, "credsStore": "desktop", "auths": {"ghcr.io": {}, "quay.io": {"auth": "YTpi"}}}"#,
    )
    .unwrap();
    for (registry, helper) in
        [("gcr.io", "docker-credential-gcloud"), ("ghcr.io", "docker-credential-desktop")]
    {
        let error = config.login(registry).unwrap_err().to_string();
        assert!(
            error.contains(helper) && error.contains(registry) && error.contains("USER:PASSWORD"),
            "{error}"
        );
    }
    assert!(config.login("quay.io").unwrap().is_some());
    assert!(config.login("other.io").unwrap().is_none());
}

#[test]
fn a_file_that_is_not_dockers_is_told_by_its_line_and_without_its_words() {
    for (text, form) in [
        ("{\"auths\": \"c2VjcmV0\"}", "auths is not what it is in Docker's"),
        ("{\"auths\": {\"a\": {\"auth\": [\"c2VjcmV0\"]}}}", "auths is not what it is in Docker's"),
        ("{\"credsStore\": [\"c2VjcmV0\"]}", "credsStore is not what it is in Docker's"),
        ("{\"credHelpers\": {\"a\": [\"c2VjcmV0\"]}}", "credHelpers is not what it is in Docker's"),
        ("[\"c2VjcmV0\"]", "the whole is not what it is in Docker's"),
        ("{\n\n\"c2VjcmV0", "there is no JSON in line 3"),
        ("c2VjcmV0", "there is no JSON in line 1"),
    ] {
        let error = DockerConfig::parse(text.as_bytes()).unwrap_err();
        assert_eq!(error, CredentialsError::NotDockers { form: form.to_owned() });
        assert!(!format!("{error} {error:?}").contains("c2VjcmV0"));
    }
    let of = |auth: &str| {
        let text = format!(r#"{{"auths": {{"a.io": {{{auth}}}}}}}"#);
        DockerConfig::parse(text.as_bytes()).unwrap().login("a.io").unwrap_err().to_string()
    };
    assert!(of(r#""auth": "?secret""#).contains("not base64"));
    assert!(of(r#""auth": "c2VjcmV0""#).contains("no colon"));
    assert!(of(r#""identitytoken": "secret""#).contains("identity token"));
    for auth in [r#""auth": "?secret""#, r#""auth": "c2VjcmV0""#, r#""identitytoken": "secret""#] {
        assert!(!of(auth).contains("secret") && !of(auth).contains("c2VjcmV0"));
    }
}

#[test]
fn nothing_shows_a_secret() {
    let config = DockerConfig::parse(
        br#"{"auths": {"a.io": {"auth": "dXNlcjpzZWNyZXQ=", "identitytoken": "secret"}}}"#,
    );
    let login = RegistryLogin::basic("user", "secret");
    let token = RegistryLogin::from_file(b"secret").unwrap();
    let access = crate::RegistryAccess { login: Some(login.clone()), ..Default::default() };
    let shown = format!("{login:?} {token:?} {:?} {access:?}", config.unwrap());
    assert!(!shown.contains("secret") && !shown.contains("dXNlcjpzZWNyZXQ"), "{shown}");
    assert!(shown.contains("a.io"), "{shown}");
}
