//! How registries are asked: with which credentials, and by which authorities.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use host_manifest::RegistryConfig;
use host_registry::{DockerConfig, PrivateAuthorities, Reference, RegistryAccess, RegistryLogin};

/// Credentials of all registries, and authorities.
#[derive(Debug, Default)]
pub(crate) struct RegistryAccesses {
    logins: BTreeMap<String, RegistryLogin>,
    docker: Option<DockerConfig>,
    authorities: PrivateAuthorities,
}

impl RegistryAccesses {
    /// Reads the files that the manifest names, or that the user has. Blocks for a moment.
    pub(crate) fn read(config: &RegistryConfig) -> Result<Self, String> {
        let login = |(registry, secret): (&String, &host_manifest::Secret)| {
            let login = RegistryLogin::from_file(secret.reveal().as_bytes());
            login
                .map(|login| (registry.clone(), login))
                .map_err(|why| format!("registry.login.{registry}: {why}"))
        };
        let logins = config.logins.iter().map(login).collect::<Result<_, _>>()?;
        let docker = match &config.docker_config {
            Some(path) => Some(
                read_docker(path)?
                    .ok_or_else(|| format!("cannot read {}: it is not there", path.display()))?,
            ),
            None => users_docker_config().map(|path| read_docker(&path)).transpose()?.flatten(),
        };
        let mut pem = Vec::new();
        for path in &config.authorities {
            pem.extend(fs::read(path).map_err(|why| unreadable(path, &why))?);
            pem.push(b'\n');
        }
        let authorities = match pem.is_empty() {
            true => PrivateAuthorities::default(),
            false => PrivateAuthorities::from_pem(&pem)
                .map_err(|why| format!("registry.authorities: {why}"))?,
        };
        Ok(Self { logins, docker, authorities })
    }

    /// How the registry of this source is asked.
    pub(crate) fn to(&self, source: &Reference) -> Result<RegistryAccess, String> {
        let Reference::Oci(image) = source else {
            return Ok(RegistryAccess { login: None, authorities: self.authorities.clone() });
        };
        let login = match (self.logins.get(image.registry()), &self.docker) {
            (Some(login), _) => Some(login.clone()),
            (None, Some(docker)) => {
                docker.login(image.registry()).map_err(|why| why.to_string())?
            }
            (None, None) => None,
        };
        Ok(RegistryAccess { login, authorities: self.authorities.clone() })
    }
}

/// Docker's file, if it is there.
fn read_docker(path: &Path) -> Result<Option<DockerConfig>, String> {
    match fs::read(path) {
        Ok(text) => {
            DockerConfig::parse(&text).map(Some).map_err(|why| format!("{}: {why}", path.display()))
        }
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(why) => Err(unreadable(path, &why)),
    }
}

/// Where Docker has it.
fn users_docker_config() -> Option<PathBuf> {
    let directory = env::var_os("DOCKER_CONFIG").map(PathBuf::from);
    let directory = directory.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".docker")));
    Some(directory?.join("config.json"))
}

fn unreadable(path: &Path, why: &io::Error) -> String {
    format!("cannot read {}: {why}", path.display())
}
