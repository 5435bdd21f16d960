import java.lang.annotation.ElementType;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.lang.annotation.Target;

/** Marks a method as one scenario: it returns if the broker keeps the rule and throws if not. */
@Retention(RetentionPolicy.RUNTIME)
@Target(ElementType.METHOD)
@interface Rule {
    /** After this time the scenario has failed. */
    int seconds() default 30;

    /** Runs only when it is named on the command line. */
    boolean onlyByName() default false;
}
