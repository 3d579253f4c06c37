use super::*;

#[test]
fn a_model_sees_the_steps_of_a_claim() {
    let queue = ModelQueue::new(None, 3, None).unwrap();
    let [_, ModelStep::Create(segment, data, true), _] = &queue.push(1, 0)[1..] else {
        panic!("a push checks, creates and rings");
    };
    let segment = format!("{segment}0000000000");
    let names = [segment.rsplit('/').next().unwrap().to_owned()];
    let firsts = ModelFirsts::default();
    assert_eq!(queue.unread(&names, &firsts, 1, 0, 0), [""; 0]);
    let ModelTurn::Claim(steps, takings, _) = queue.turn(&names, &firsts, 1, 0, |_| None, 0) else {
        panic!("what is fresh can be claimed");
    };
    assert_eq!(steps[1], ModelStep::Check(segment, None));
    let claim = queue.claim(&takings[0], data).unwrap();
    assert_eq!((claim.items().count(), claim.attempt(0)), (1, Some(1)));
    let (steps, left) = queue.settle(&claim, &[(0, ModelVerdict::Done)], 0);
    assert_eq!((steps.len(), left.items().count()), (3, 0));
}
