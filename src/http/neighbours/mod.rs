//! Route sets of other servers, for programs that move here without being changed. Each file is one neighbour: a thin adapter that
//! gives its answers and its errors in that neighbour's own shape.

pub(super) mod tokenboy;
