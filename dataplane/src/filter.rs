//! What a rule changes on a request or answer: headers, host and path, redirects, direct responses.
