//! What a file's path says of its lines.
//!
//! Knows regular expressions and the layouts of Kubernetes. Does not know where a path is from, nor what a record takes.
//!
//! *Invariant:* a path has all of the fields of one expression, or none.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use regex::bytes::Regex;

/// What stands for the expressions below.
const KUBERNETES: &str = "kubernetes";

/// Where the kubelet has containers write, and the links beside it (`pkg/kubelet/kuberuntime/legacy.go`). Neither a name
/// nor a namespace has an underscore.
const KUBERNETES_LAYOUTS: [&str; 2] = [
    "^/var/log/pods/(?<namespace>[^_/]+)_(?<pod>[^_/]+)_(?<pod_uid>[^/]+)/(?<container>[^/]+)/",
    r"^/var/log/containers/(?<pod>[^_/]+)_(?<namespace>[^_/]+)_(?<container>[^/]+)-(?<container_id>[0-9a-f]{64})\.log",
];

/// Regular expressions whose named groups are fields.
#[derive(Clone, Debug)]
pub struct PathFields {
    /// As the operator wrote it.
    text: Box<str>,
    expressions: Vec<Regex>,
    names: Vec<Arc<str>>,
}

impl PathFields {
    /// # Errors
    /// When `text` is neither a regular expression nor the name of a layout.
    pub fn try_new(text: &str) -> Result<Self, regex::Error> {
        let texts = if text == KUBERNETES { &KUBERNETES_LAYOUTS[..] } else { &[text][..] };
        let expressions = texts.iter().map(|text| Regex::new(text)).collect::<Result<Vec<_>, _>>()?;
        let mut names: Vec<Arc<str>> = Vec::new();
        for name in expressions.iter().flat_map(|expression| expression.capture_names().flatten()) {
            if !names.iter().any(|known| **known == *name) {
                names.push(name.into());
            }
        }
        Ok(Self { text: text.into(), expressions, names })
    }

    /// Those of a source that reads nothing from paths.
    pub fn none() -> Self {
        Self { text: "".into(), expressions: Vec::new(), names: Vec::new() }
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// The fields that a path may have.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|name| &**name)
    }

    /// The fields of a file, by its real path. Where that is a container runtime's own, Kubernetes' link to it tells as well.
    pub fn of<'p>(&self, real: &'p Path, matched: &'p Path) -> Vec<(&str, Cow<'p, str>)> {
        let paths = if *self.text == *KUBERNETES { &[real, matched][..] } else { &[real][..] };
        for path in paths {
            let text = path.as_os_str().as_encoded_bytes();
            for expression in &self.expressions {
                let Some(found) = expression.captures(text) else { continue };
                let names = expression.capture_names().flatten();
                return names
                    .filter_map(|name| {
                        Some((self.names.iter().find(|known| ***known == *name)?, found.name(name)?))
                    })
                    .map(|(name, value)| (&**name, String::from_utf8_lossy(value.as_bytes())))
                    .collect();
            }
        }
        Vec::new()
    }
}

impl PartialEq for PathFields {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for PathFields {}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(text: &str, real: &str, matched: &str) -> Vec<String> {
        let fields = PathFields::try_new(text).expect("a regular expression");
        let found = fields.of(Path::new(real), Path::new(matched));
        found.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    #[test]
    fn named_groups_of_the_real_path_are_fields_and_another_path_has_none() {
        let table: [(&str, &str, &[&str]); 5] = [
            ("^/log/(?<app>[a-z]+)-(?<day>[0-9]+)", "/log/shop-1.log", &["app=shop", "day=1"]),
            ("^/log/(?<app>[a-z]+)(-(?<day>[0-9]+))?", "/log/shop.log", &["app=shop"]),
            ("^/log/(?<app>[a-z]+)-([0-9]+)", "/log/shop-1.log", &["app=shop"]),
            ("^/log/(?<app>[a-z]+)", "/other/shop", &[]),
            (r"(?<app>\w+)\.log", "/log/läden.log", &["app=läden"]),
        ];
        for (text, path, expected) in table {
            assert_eq!(fields(text, path, "/log/link-2"), expected, "{text} {path}");
        }
    }

    #[test]
    fn kubernetes_names_its_pods_in_paths_and_links() {
        const POD: &str = "/var/log/pods/kube-system_dns-5d_0a1b-2c/coredns/0.log";
        let id = "0123456789abcdef".repeat(4);
        let link = format!("/var/log/containers/dns-5d_kube-system_core-dns-{id}.log");
        let docker = format!("/var/lib/docker/containers/{id}/{id}-json.log");
        let of_pod = ["namespace=kube-system", "pod=dns-5d", "pod_uid=0a1b-2c", "container=coredns"];
        let of_link =
            ["pod=dns-5d", "namespace=kube-system", "container=core-dns", &format!("container_id={id}")];
        assert_eq!(fields("kubernetes", POD, &link), of_pod);
        assert_eq!(fields("kubernetes", &format!("{POD}.20261128-080000"), POD), of_pod, "rotated");
        assert_eq!(fields("kubernetes", &link, &link), of_link);
        assert_eq!(fields("kubernetes", &docker, &link), of_link, "a link to what Docker writes");
        assert_eq!(fields("kubernetes", &docker, &docker), [""; 0]);
        assert_eq!(fields("kubernetes", &link.replace(&id, &id[1..]), "/x"), [""; 0]);
        let names = PathFields::try_new("kubernetes").expect("expressions");
        assert_eq!(
            names.names().collect::<Vec<_>>(),
            ["namespace", "pod", "pod_uid", "container", "container_id"]
        );
    }
}
