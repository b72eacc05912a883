//! PandaProbe.
