"""Plots of the nemesis: several steps, in the order and at the moment at which protocols have broken elsewhere.

A plot knows the protocol's weak moments and no planted bug: what comes of it is for the invariants to say.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

from kvarts.raft.confchange import ChangeKind, ConfigChange, NodeChange
from kvarts.raft.ids import LogIndex, NodeId
from kvarts.raft.membership import Membership
from kvarts.raft.messages import Role
from kvarts.replication.events import ConfigRequested, GroupId, TransferRequested
from kvarts_sim.cluster.agenda import MS, SECOND
from kvarts_sim.cluster.nemesis import Nemesis

PLOTS = ("coup", "lag", "deaf_transfer", "flap", "cut_change", "stuck_leader", "stuck_heir", "sleeper")
NEWER_PLOTS = ("late_refusal", "torn_change", "heir_change")
"""Those that worlds draw from another stream, so that the older ones stay as they were."""
LOOK_US = 5 * MS
"""How often a plot looks whether its moment has come."""


class Plotter(Nemesis):
    """A nemesis that also plots."""

    def coup(self, _node: int) -> None:
        """A leader with an unfinished tail is cut off with a few friends, others lead meanwhile, and it comes back.

        Links to its friends may be slow and its disk may be stuck all the while; the leadership may move on among the
        others before it is back, and to it afterwards.
        """
        world, rng, group = self._world, self._rng, self._rng.choice(self._world.groups)
        leader = world.leader(group)
        if leader is None:
            return
        voters = sorted(world.membership(leader, group).voters.voters - {leader})
        friends = rng.sample(
            voters, rng.randrange(max(1, len(voters) // 2)) if rng.random() < 0.3 else len(voters) // 2 - 1
        )
        camp = {leader, *friends}
        rest = set(world.processes) - camp
        if friends and rng.random() < 0.7:
            late = rng.choice([200, 700, 1500, 2500]) * MS
            self._lag([(leader, each) for each in friends], late // 2, 6 * SECOND)
            self._lag([(each, leader) for each in friends], late, 6 * SECOND)
        if rng.random() < 0.5:
            self._stall_for(leader, rng.randrange(1, 5 * SECOND))
        heal = self._sever(_between(camp, rest), f"coup against n{leader} of {sorted(camp)}")
        moves_on, comes_back = rng.random() < 0.6, rng.random() < 0.7
        healed_us, dies_us = rng.randrange(600 * MS), rng.choice([None, rng.randrange(100 * MS)])

        def elected() -> None:
            if moves_on:
                self._hand_over(group, rng, rest)
            self._after(healed_us, back)

        def back() -> None:
            heal()
            if dies_us is not None:
                self._after(dies_us, world.processes[leader].crash)
                self._after(dies_us + 300 * MS, self._starter(leader))
            elif comes_back:
                self._insist(lambda: self._hand_over(group, rng, {leader}), rng.randrange(1, 200 * MS), 8)

        self._when(lambda: world.leader(group) in rest, elected, 5 * SECOND, otherwise=heal)

    def lag(self, _node: int) -> None:
        """A queue builds up on the way to a leader, and then nobody hears it any more, while it hears old words."""
        world, rng, group = self._world, self._rng, self._rng.choice(self._world.groups)
        leader = world.leader(group)
        if leader is None:
            return
        others = sorted(set(world.processes) - {leader})
        inward, outward = [(each, leader) for each in others], {(leader, each) for each in others}
        step_us, steps = rng.choice([100, 300, 500]) * MS, rng.randrange(1, 8)
        for step in range(1, steps + 1):
            late = step * step_us
            self._after((step - 1) * (step_us + 200 * MS), lambda late=late: self._lag(inward, late, 10 * SECOND))  # type: ignore[misc]
        cut_us = steps * (step_us + 200 * MS) + rng.randrange(SECOND)
        lasts_us = SECOND + rng.randrange(4 * SECOND)

        def cut() -> None:
            self._after(lasts_us, self._sever(outward, f"n{leader} hears the past and is not heard"))

        self._after(cut_us, cut)

    def deaf_transfer(self, _node: int) -> None:
        """A leader that hears nobody any more hands over."""
        world, rng, group = self._world, self._rng, self._rng.choice(self._world.groups)
        leader = world.leader(group)
        if leader is None:
            return
        others = sorted(set(world.processes) - {leader})
        inward = [(each, leader) for each in others]
        if rng.random() < 0.5:
            self._lag(inward, rng.randrange(300 * MS, 3 * SECOND), 3 * SECOND)
        else:
            end = self._sever(set(inward), f"n{leader} is deaf")
            self._after(rng.randrange(300 * MS, 3 * SECOND), end)
        self._hand_over(group, rng, set(others))

    def stuck_leader(self, _node: int) -> None:
        """The disk of a leader makes nothing durable for a while, and all else is well."""
        leader = self._world.leader(self._rng.choice(self._world.groups))
        if leader is not None:
            self._stall_for(leader, self._rng.randrange(SECOND, 6 * SECOND))

    def stuck_heir(self, _node: int) -> None:
        """Who is to take over has a stuck disk, and if it is elected, it dies with its first words on their way."""
        world, rng, group = self._world, self._rng, self._rng.choice(self._world.groups)
        leader = world.leader(group)
        if leader is None:
            return
        heirs = sorted(world.membership(leader, group).voters.voters - {leader})
        if not heirs:
            return
        heir = rng.choice(heirs)
        dies_us, back_us = rng.choice([0, 1, 20]) * MS, rng.randrange(2, 300) * MS
        deaf = rng.sample(sorted(set(world.processes) - {heir}), rng.randrange(len(world.processes)))

        def elected() -> None:
            if self.stopped:
                return
            end = self._sever({(heir, each) for each in deaf}, f"first words of n{heir} to {deaf} are lost")
            self._after(dies_us, world.processes[heir].crash)
            self._after(dies_us + back_us, self._starter(heir))
            self._after(dies_us + back_us, end)

        self._on(heir, group, "leader", elected)
        self._stall_for(heir, 60 * MS)
        self._hand_over(group, rng, {heir})

    def sleeper(self, _node: int) -> None:
        """A leader is paused, and when it wakes, what the others told it meanwhile is lost or late."""
        world, rng = self._world, self._rng
        leader = world.leader(rng.choice(world.groups))
        if leader is None:
            return
        inward = [(each, leader) for each in world.processes if each != leader]
        sleeps_us = rng.randrange(4 * SECOND)
        if rng.random() < 0.5:
            self._lag(inward, sleeps_us, sleeps_us + SECOND)
        else:
            self._after(sleeps_us + SECOND, self._sever(set(inward), f"n{leader} is deaf"))
        world.processes[leader].pause(sleeps_us)

    def flap(self, node: int) -> None:
        """A process dies and comes back at once, again and again, and what others told it is long on its way."""
        world, rng = self._world, self._rng
        self._lag(
            [(each, node) for each in world.processes if each != node], rng.randrange(100 * MS, 900 * MS), 4 * SECOND
        )
        for _ in range(rng.randrange(2, 6)):
            moment = rng.randrange(3 * SECOND)
            self._after(moment, world.processes[node].crash)
            self._after(moment + rng.randrange(1, 150 * MS), self._starter(node))

    def cut_change(self, _node: int) -> None:
        """Membership changes much at once; when the leader takes that, old and new members lose touch."""
        world, rng, group = self._world, self._rng, self._rng.choice(self._world.groups)
        leader = world.leader(group)
        if leader is None:
            return
        before = world.membership(leader, group)
        requests = self._big_changes(group, leader, before)
        for changes in requests:
            world.push(leader, ConfigRequested(group, ConfigChange(changes)))
        if not requests:
            return
        self._say(f"changes of s{group}: {', '.join(str(ConfigChange(each)) for each in requests)}")
        wait_us, leader_dies = rng.choice([0, 0, 1, 2, 200]) * MS, rng.random() < 0.5
        lasts_us, dies_us = SECOND + rng.randrange(5 * SECOND), rng.randrange(100 * MS, SECOND)

        def taken() -> None:
            self._after(wait_us, cut)

        def cut() -> None:
            old = set(before.voters.voters) - {leader}
            end = self._sever(_between(old, set(world.processes) - old), f"n{leader} and newcomers lose {sorted(old)}")
            self._after(lasts_us, end)
            if leader_dies:
                self._after(dies_us, world.processes[leader].crash)
                self._after(dies_us + lasts_us, self._starter(leader))

        self._on(leader, group, "membership", taken)

    def late_refusal(self, _node: int) -> None:
        """A leader is heard again while votes of an election without it, and refusals, are still on their way.

        Who stands in the next term is not heard by the leader, and the leader hears the others late; one of them may
        die and come back.
        """
        world, rng, group = self._world, self._rng, self._rng.choice(self._world.groups)
        leader = world.leader(group)
        if leader is None:
            return
        others = sorted(world.membership(leader, group).voters.voters - {leader})
        for sender in others:
            late_us = rng.randrange(100 * MS, 450 * MS)
            self._lag([(sender, to) for to in others if to != sender], late_us, 4 * SECOND)
        over = self._sever({(leader, each) for each in others}, f"n{leader} is not heard")
        late_us, lasts_us = rng.choice([100, 200, 300]) * MS, rng.randrange(600 * MS, 1500 * MS)
        dies_us, back_us = rng.choice([None, rng.randrange(50 * MS, 300 * MS)]), rng.randrange(1, 40 * MS)

        def heard() -> None:
            stands = self._candidate(group, others)
            over()
            if stands is None:
                return
            self._after(
                lasts_us, self._sever({(leader, stands), (stands, leader)}, f"n{leader} and n{stands} lose touch")
            )
            # What is under way takes its time, and what is sent from now on is faster.
            self._lag([(sender, to) for sender in others for to in others if to != sender], 1, 4 * SECOND)
            rest = [each for each in others if each != stands]
            self._lag([(each, leader) for each in rest], late_us, lasts_us)
            if dies_us is not None and rest:
                node = rng.choice(rest)
                self._after(dies_us, world.processes[node].crash)
                self._after(dies_us + back_us, self._starter(node))

        self._when(lambda: self._candidate(group, others) is not None, heard, 3 * SECOND, otherwise=over)

    def _candidate(self, group: GroupId, nodes: Iterable[int]) -> int | None:
        for node in nodes:
            status = self._world.status(node, group)
            if status is not None and status.role is Role.CANDIDATE:
                return node
        return None

    def torn_change(self, _node: int) -> None:
        """Who missed two changes of membership hears of both at once, and then those who could elect it are alone.

        Either its state machine lags behind, or it dies, and of its last write a few records are lost.
        """
        world, rng, group = self._world, self._rng, self._rng.choice(self._world.groups)
        leader = world.leader(group)
        if leader is None:
            return
        before = world.membership(leader, group)
        changes, alone = self._changes_of_majority(group, leader, before)
        if not changes:
            return
        late = rng.choice(sorted(alone - {each.node for each in changes}))
        first, second = (ConfigChange((each,)) for each in changes)
        missed = self._sever(_between({late}, set(world.processes) - {late}), f"n{late} misses {first} and {second}")
        dies, waits_us, lost_max = rng.random() < 0.6, rng.randrange(50 * MS, 400 * MS), rng.choice([1, 1, 2, 5])
        disk = world.processes[late].disk

        def ask_second() -> None:
            self._on(leader, group, "membership", part)
            # No second change is taken before the first is applied to its end.
            self._after(LOOK_US, lambda: world.push(leader, ConfigRequested(group, second)))

        def part() -> None:
            far = set(world.processes) - alone
            ends = [self._sever(_between(alone - {late}, far), f"{sorted(alone - {late})} lose touch"), missed]
            disk.health.stalled, disk.health.apply_us = dies, 50 if dies else 5 * SECOND
            self._after(waits_us, lambda: learn(far, ends))

        def learn(far: set[int], ends: list[Callable[[], None]]) -> None:
            ends.pop()()
            status = world.status(leader, group)
            index = status.committed if status else LogIndex(0)

            def has_it() -> bool:
                return disk.live[group].last_index() >= index

            def alone_at_last() -> None:
                ends.append(self._sever(_between({late}, far), f"n{late} loses touch too"))
                if dies:
                    world.processes[late].crash(lost_max)
                    disk.recover_health()
                    self._after(20 * MS, self._starter(late))
                self._after(6 * SECOND, over)

            def over() -> None:
                disk.recover_health()
                for end in ends:
                    end()

            self._when(has_it, alone_at_last, SECOND, otherwise=over)

        self._after(10 * SECOND, missed)
        self._on(leader, group, "membership", ask_second)
        world.push(leader, ConfigRequested(group, first))

    def _changes_of_majority(
        self, group: GroupId, leader: int, membership: Membership
    ) -> tuple[list[NodeChange], set[int]]:
        """Return two changes of one voter each, and a majority of the old voters that is too few of the new ones."""
        voters = sorted(membership.voters.incoming.voters)
        others = self._rng.sample([each for each in voters if each != leader], len(voters) - 1)
        if membership.is_joint or len(voters) % 2 == 0:
            return [], set()
        if len(voters) >= 5:
            return [NodeChange(ChangeKind.REMOVE, each) for each in others[:2]], set(others[: len(voters) // 2 + 1])
        coming = [self._newcomer(group), self._newcomer(group)]
        if None in coming or len(voters) < 3:
            return [], set()
        adds = [NodeChange(ChangeKind.ADD_VOTER, NodeId(node)) for node in coming if node is not None]
        return adds, set(others[: len(voters) // 2 + 1])

    def heir_change(self, _node: int) -> None:
        """A leader of three proposes a change and hears nobody any more; whoever is elected next is asked for another.

        When that one has taken both, the old voters lose touch with it and the newcomers.
        """
        world, rng, group = self._world, self._rng, self._rng.choice(self._world.groups)
        leader = world.leader(group)
        if leader is None:
            return
        voters = world.membership(leader, group).voters.incoming.voters
        coming = [self._newcomer(group), self._newcomer(group)] if len(voters) == 3 else [None]
        if None in coming:
            return
        first, second = (ConfigChange((NodeChange(ChangeKind.ADD_VOTER, NodeId(node)),)) for node in coming if node)
        lasts_us = rng.randrange(3 * SECOND, 6 * SECOND)
        ends = [self._sever({(each, leader) for each in world.processes}, f"n{leader} is deaf, and asked for {first}")]
        world.push(leader, ConfigRequested(group, first))
        gone = _between({leader}, set(world.processes) - {leader})
        self._after(20 * MS, lambda: ends.append(self._sever(gone, f"n{leader} is gone")))

        def back() -> None:
            while ends:
                ends.pop()()

        def elected(heir: int) -> None:
            if ends and not self.stopped:
                self._say(f"n{heir} is asked for {second}")
                self._on(heir, group, "membership", lambda: taken_one(heir))
                world.push(heir, ConfigRequested(group, second))
                # Its own disk is the last to have both: they are committed together, which the old voters do not hear.
                self._stall_for(heir, 40 * MS)
                self._after(20 * MS, lambda: self._lag([(heir, each) for each in voters - {heir}], lasts_us, lasts_us))

        def taken_one(heir: int) -> None:
            self._on(heir, group, "membership", lambda: part(heir))

        def part(heir: int) -> None:
            back()
            old = set(voters) - {heir}
            if not self.stopped:
                end = self._sever(
                    _between(old, set(world.processes) - old), f"n{heir} and newcomers lose {sorted(old)}"
                )
                self._after(lasts_us, end)

        for each in sorted(voters - {leader}):
            self._on(each, group, "leader", lambda each=each: elected(each))  # type: ignore[misc]
        self._after(5 * SECOND, back)

    def _big_changes(self, group: GroupId, leader: int, membership: Membership) -> list[tuple[NodeChange, ...]]:
        """Either half of the voters replaced in one change, or several changes of one voter at the same time."""
        rng = self._rng
        others = sorted(membership.voters.incoming.voters - {leader})
        leaving = rng.sample(others, min(2, len(others)))
        coming = [NodeId(node) for node in (self._newcomer(group), self._newcomer(group)) if node is not None]
        removes = [NodeChange(ChangeKind.REMOVE, NodeId(node)) for node in leaving]
        adds = [NodeChange(ChangeKind.ADD_VOTER, node) for node in coming]
        if rng.random() < 0.5 and len(adds) == 2:
            return [(*removes, *adds)]
        if adds:
            return [(each,) for each in adds]
        return [(each,) for each in removes] if len(others) > 3 else []

    def _hand_over(self, group: GroupId, rng: random.Random, targets: Iterable[int]) -> bool:
        """Ask the leader to hand over to one of `targets`; return whether one of them leads already."""
        leader, targets = self._world.leader(group), sorted(targets)
        if leader is not None and [leader] != targets:
            target = NodeId(rng.choice([each for each in targets if each != leader]))
            self._say(f"transfer of s{group} from n{leader} to n{target}")
            self._world.push(leader, TransferRequested(group, target))
        return leader in targets

    def _lag(self, links: Iterable[tuple[int, int]], late_us: int, lasts_us: int) -> None:
        network, links = self._world.network, list(links)
        for link in links:
            network.lags[link] = late_us
        self._say(f"{late_us // MS} ms of queue on {links}")

        def end() -> None:
            for link in links:
                if network.lags.get(link) == late_us:
                    del network.lags[link]

        self._after(lasts_us, end)

    def _stall_for(self, node: int, lasts_us: int) -> None:
        disk = self._world.processes[node].disk
        disk.health.stalled = True
        self._say(f"disk of n{node} stalls")
        self._after(lasts_us, disk.recover_health)

    def _on(self, node: int, group: GroupId, what: str, then: Callable[[], None]) -> None:
        """Do something once a node has taken a change of "membership", or has become "leader"."""
        self._world.at_change.setdefault((node, group, what), []).append(then)

    def _when(
        self, holds: Callable[[], bool], then: Callable[[], object], within_us: int, *, otherwise: Callable[[], object]
    ) -> None:
        if holds():
            then()
        elif within_us <= 0:
            otherwise()
        else:
            self._after(LOOK_US, lambda: self._when(holds, then, within_us - LOOK_US, otherwise=otherwise))

    def _insist(self, ask: Callable[[], bool], pause_us: int, times: int) -> None:
        """Ask again and again, until it is so."""
        if not ask() and times > 1:
            self._after(pause_us, lambda: self._insist(ask, pause_us, times - 1))


def _between(left: Iterable[int], right: Iterable[int]) -> set[tuple[int, int]]:
    right = list(right)
    return {pair for a in left for b in right for pair in ((a, b), (b, a))}
