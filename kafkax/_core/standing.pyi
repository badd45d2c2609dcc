"""Answers to heartbeats that the network threads give by themselves."""

class StandingAnswers:
    """What the control plane would answer to the very same request again.

    Requests are known by their bytes without the correlation id, on one connection.  The answers of a group's members stand
    until the group is revoked.  For one Python thread; the network threads look into it meanwhile.
    """

    def __len__(self) -> int:
        """Answers that are kept, those that do not stand any more included."""

    def round(self, group: str) -> int:
        """A number that changes with each ``revoke``; to be asked when that is looked at which an answer depends on."""

    def keep(self, group: str, member: str, round: int, connection: int, frame: bytes, answer: bytes) -> None:
        """Have the core answer a request from now on; does nothing when the group was revoked or forgotten since ``round``.

        Args:
            group, member: whose request it is; a member has one at a time.
            round: from :meth:`round`, when the answer was made.
            connection: that it came by.
            frame: the request, header and body, without its length.
            answer: header and body, without its length.
        """

    def allow(self, group: str, member: str, round: int, connection: int, who: bytes, *, silent: bool) -> None:
        """Have the core take a member's commits from now on; does nothing when the group was revoked since ``round``.

        Args:
            group, member: who commits; "" for who is no member. A member commits by one connection at a time.
            round: from :meth:`round`, when such a commit was allowed.
            connection: that it came by.
            who: what its commits begin with, correlation id included.
            silent: a commit is no sign of life of this member.
        """

    def revoke(self, group: str) -> None:
        """Answer the group's members no more: something changed that their answers may depend on."""

    def revoke_all(self) -> None:
        """The same for all groups."""

    def heard(self, group: str, member: str) -> float:
        """Seconds of the monotonic clock when the core last answered the member; 0.0 when it never did."""

    def forget(self, group: str, member: str | None = None) -> None:
        """Revoke the group, and drop what is kept of a member or of all of them."""
