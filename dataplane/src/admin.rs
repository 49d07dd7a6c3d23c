//! What an operator may see and reset: `--admin` (loopback) and `--probe` (health, readiness, metrics only).

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};

/// Pages that the binary adds to the admin interface (`/objects`, `/explain`): `None` is "not mine".
pub type Page = Arc<dyn Fn(&Request<()>) -> Option<Response<Bytes>> + Send + Sync>;

pub type Pages = Vec<Page>;
